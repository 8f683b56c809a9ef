/**
 * What this browser keeps for the page. Where it keeps nothing (site data forbidden), the same in memory: it lives as
 * long as the tab.
 */

import type { KeyValue } from '@parlor/client';

class Memory implements KeyValue {
  #kept = new Map<string, string>();

  get length(): number {
    return this.#kept.size;
  }

  key(n: number): string | null {
    return [...this.#kept.keys()][n] ?? null;
  }

  getItem(key: string): string | null {
    return this.#kept.get(key) ?? null;
  }

  setItem(key: string, value: string): void {
    this.#kept.set(key, value);
  }

  removeItem(key: string): void {
    this.#kept.delete(key);
  }
}

function kept(): KeyValue | undefined {
  try {
    // The mere question is refused where site data is forbidden.
    return window.localStorage;
  } catch {
    return undefined;
  }
}

const browser = kept();

/** Whether something stays when the tab is closed. */
export const keeps = browser !== undefined;

export const storage: KeyValue = browser ?? new Memory();

/** Keeps it, or says that there is no room. */
export function keep(key: string, value: string): boolean {
  try {
    storage.setItem(key, value);
    return true;
  } catch {
    return false;
  }
}

/** Forgets all whose key begins so. */
export function forget(start: string): void {
  const keys = Array.from({ length: storage.length }, (_, n) => storage.key(n));
  for (const key of keys) if (key?.startsWith(start)) storage.removeItem(key);
}
