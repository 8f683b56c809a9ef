/** Time and chance come in from outside, so that tests run in a time of their own. */

export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls `run` once, `ms` from now, unless the function that is returned is called before. */
  after(ms: number, run: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

/** Milliseconds to wait before attempt `n` (from 1): up to 0.5, 1, 2 … 30 seconds, spread evenly below that. */
export function backOff(attempt: number, random: () => number): number {
  const most = Math.min(30_000, 500 * 2 ** Math.max(0, attempt - 1));
  // Never less than a fifth: a server that refuses at once is not to be asked without pause.
  return Math.round(most * (0.2 + 0.8 * random()));
}
