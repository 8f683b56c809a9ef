/** Puts work off until the page is there and has nothing else to do. */

/** Not longer than that, though: a page that is busy for ever does it all the same. */
const LATEST_MS = 1_000;

export function afterwards(run: () => void): void {
  const rest = () => (typeof requestIdleCallback === 'undefined' ? setTimeout(run, LATEST_MS / 4) : requestIdleCallback(run, { timeout: LATEST_MS }));
  if (document.readyState === 'complete') rest();
  else window.addEventListener('load', rest, { once: true });
}
