/** The page begins. */

// First: what it starts takes its time beside all that follows.
import '@/app/begin.ts';

import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { App } from '@/app/App.tsx';

import '@/styles/base.css';
import '@/styles/parts.css';
import '@/styles/shell.css';
import '@/styles/chat.css';
import '@/styles/screens.css';

const root = document.getElementById('root');
if (root) createRoot(root, { onCaughtError: (error) => console.warn(error) }).render(<StrictMode><App /></StrictMode>);
