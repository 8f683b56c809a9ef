/** Begins: how it looks first, so that nothing flickers; then the page. */

import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { App } from '@/app/App.tsx';
import { applyTheme } from '@/lib/preferences.ts';
import { session } from '@/lib/session.ts';

import '@/styles/base.css';
import '@/styles/parts.css';
import '@/styles/shell.css';
import '@/styles/chat.css';
import '@/styles/screens.css';

applyTheme();
window.addEventListener('storage', ({ key }) => key === 'parlor.theme' && applyTheme());
session.begin();

const root = document.getElementById('root');
if (root) createRoot(root, { onCaughtError: (error) => console.warn(error) }).render(<StrictMode><App /></StrictMode>);
