/** Times and numbers in the reader's own way of writing them. */

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: 'short' });
const date = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const dateYear = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
const longDate = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const number = new Intl.NumberFormat();

const DAY = 86_400_000;

export const clockTime = (at: string | number | Date): string => time.format(new Date(at));
export const fullTime = (at: string | number | Date): string => full.format(new Date(at));
export const count = (n: number): string => number.format(n);

/** A number that is the same for all moments of a day, here. */
export function dayOf(at: string | number | Date): number {
  const day = new Date(at);
  return new Date(day.getFullYear(), day.getMonth(), day.getDate()).getTime();
}

export function dayName(at: string | number | Date, now = Date.now()): string {
  const days = Math.round((dayOf(now) - dayOf(at)) / DAY);
  if (days === 0) return 'Today';
  if (days === 1) return 'Yesterday';
  return new Date(at).getFullYear() === new Date(now).getFullYear() ? longDate.format(new Date(at)) : dateYear.format(new Date(at));
}

/** As short as it can be: a time today, a weekday this week, else a date. */
export function shortTime(at: string | number | Date, now = Date.now()): string {
  const days = Math.round((dayOf(now) - dayOf(at)) / DAY);
  if (days <= 0) return clockTime(at);
  if (days < 7) return weekday.format(new Date(at));
  return new Date(at).getFullYear() === new Date(now).getFullYear() ? date.format(new Date(at)) : dateYear.format(new Date(at));
}

/** "just now", "5 minutes ago", "3 hours ago", else the date. */
export function ago(at: string | number | Date, now = Date.now()): string {
  const seconds = Math.round((now - new Date(at).getTime()) / 1000);
  const of = (n: number, unit: string) => `${n} ${unit}${n === 1 ? '' : 's'} ago`;
  if (seconds < 45) return 'just now';
  if (seconds < 3600) return of(Math.max(1, Math.round(seconds / 60)), 'minute');
  if (seconds < 86_400) return of(Math.round(seconds / 3600), 'hour');
  if (seconds < 7 * 86_400) return of(Math.round(seconds / 86_400), 'day');
  return shortTime(at, now);
}

export function micros(n: number): string {
  if (n < 1000) return `${n} µs`;
  return n < 1_000_000 ? `${(n / 1000).toFixed(n < 10_000 ? 1 : 0)} ms` : `${(n / 1_000_000).toFixed(1)} s`;
}

export function bytes(n: number): string {
  if (n < 1024) return `${n} B`;
  return n < 1024 * 1024 ? `${(n / 1024).toFixed(n < 10_240 ? 1 : 0)} KiB` : `${(n / 1024 / 1024).toFixed(1)} MiB`;
}
