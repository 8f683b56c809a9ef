/** What somebody chose for this browser. */

import { keep, storage } from './storage.ts';

export type Theme = 'system' | 'light' | 'dark';

const THEME = 'parlor.theme';

export function theme(): Theme {
  const kept = storage.getItem(THEME);
  return kept === 'light' || kept === 'dark' ? kept : 'system';
}

export function setTheme(choice: Theme): void {
  if (choice === 'system') storage.removeItem(THEME);
  else keep(THEME, choice);
  applyTheme();
}

/** Before anything is drawn, and whenever it changes, in this tab or another. */
export function applyTheme(): void {
  document.documentElement.dataset.theme = theme();
}
