/** What need not wait for React, and is waited for later: how the page looks, and who is signed in. */

import { applyTheme } from '@/lib/preferences.ts';
import { session } from '@/lib/session.ts';

applyTheme();
window.addEventListener('storage', ({ key }) => key === 'parlor.theme' && applyTheme());
session.begin();
// Fetched beside the first picture, not behind it.
if (session.state.name === 'in') queueMicrotask(() => void import('./Home.tsx'));
