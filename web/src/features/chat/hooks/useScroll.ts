/**
 * Keeps a list that grows at both ends where its reader is: at the end, or at the row that stands at the top of the
 * view. Rows are elements with `data-seq`.
 */

import { useCallback, useEffect, useLayoutEffect, useRef, useState, type RefObject } from 'react';

/** So near to the end counts as the end. */
const NEAR = 48;

interface Place {
  seq: number;
  /** Pixels from the top of the view. */
  top: number;
}

/** Where one was in each conversation, while the page lives. */
const places = new Map<string, Place>();

interface ScrollOptions {
  id: string;
  /** Changes whenever the rows do. */
  rows: unknown;
  /** Whether the rows reach the end of the conversation. */
  complete: boolean;
  /** The row at which reading begins, when there is something unread. */
  startAt?: number;
}

export interface Scroll {
  box: RefObject<HTMLDivElement | null>;
  onScroll: () => void;
  /** Whether the end is in view. */
  atEnd: boolean;
  toEnd: () => void;
  /** The last row in view. */
  lastSeen: () => number | undefined;
  /** Pixels above and below the view. */
  room: () => { above: number; below: number };
}

export function useScroll({ id, rows, complete, startAt }: ScrollOptions): Scroll {
  const box = useRef<HTMLDivElement>(null);
  const follows = useRef(!places.has(id));
  const place = useRef<Place | undefined>(places.get(id));
  const begun = useRef(false);
  /** On the way to the end, whose rows are still fetched: what scrolls meanwhile is not the reader. */
  const going = useRef(false);
  const [atEnd, setAtEnd] = useState(follows.current);

  const settle = useCallback(() => {
    const view = box.current;
    if (!view) return;
    if (follows.current) {
      view.scrollTop = view.scrollHeight;
      return;
    }
    const row = place.current && rowOf(view, place.current.seq);
    if (row && place.current) view.scrollTop += topOf(view, row) - place.current.top;
  }, []);

  const onScroll = useCallback(() => {
    const view = box.current;
    if (!view || (going.current && !complete)) return;
    going.current = false;
    const near = view.scrollHeight - view.scrollTop - view.clientHeight < NEAR;
    follows.current = near && complete;
    setAtEnd(follows.current);
    if (!follows.current) place.current = firstIn(view);
  }, [complete]);

  useLayoutEffect(() => {
    const view = box.current;
    if (!begun.current && view?.querySelector('[data-seq]')) {
      begun.current = true;
      const row = startAt === undefined ? undefined : rowOf(view, startAt);
      settle();
      // Somebody with much unread begins at the first of it, not at the end.
      if (row && follows.current && topOf(view, row) < 0) {
        follows.current = false;
        place.current = { seq: Number(row.dataset.seq), top: 64 };
        setAtEnd(false);
      }
    }
    settle();
    if (complete) going.current = false;
  }, [rows, settle, startAt, complete]);

  useEffect(() => {
    const view = box.current;
    if (!view) return undefined;
    // A keyboard that comes up, a picture of the page that turns: the same text stays in view.
    const observer = new ResizeObserver(settle);
    observer.observe(view);
    return () => observer.disconnect();
  }, [settle]);

  useEffect(() => () => {
    if (follows.current || !place.current) places.delete(id);
    else places.set(id, place.current);
  }, [id]);

  const toEnd = useCallback(() => {
    follows.current = true;
    going.current = true;
    setAtEnd(true);
    settle();
  }, [settle]);
  const lastSeen = useCallback(() => (box.current ? lastIn(box.current) : undefined), []);
  const room = useCallback(() => {
    const view = box.current;
    return view ? { above: view.scrollTop, below: view.scrollHeight - view.scrollTop - view.clientHeight } : { above: 0, below: 0 };
  }, []);
  return { box, onScroll, atEnd, toEnd, lastSeen, room };
}

const rowsOf = (view: HTMLElement) => [...view.querySelectorAll<HTMLElement>('[data-seq]')];
const rowOf = (view: HTMLElement, seq: number) => view.querySelector<HTMLElement>(`[data-seq="${seq}"]`) ?? undefined;
const topOf = (view: HTMLElement, row: HTMLElement) => row.getBoundingClientRect().top - view.getBoundingClientRect().top;

/** The first row that is not above the view: rows stand in order, so half of those left are left out each time. */
function firstIn(view: HTMLElement): Place | undefined {
  const rows = rowsOf(view);
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const row = rows[middle] as HTMLElement;
    if (topOf(view, row) + row.offsetHeight <= 0) low = middle + 1;
    else high = middle;
  }
  const row = rows[low];
  return row && { seq: Number(row.dataset.seq), top: topOf(view, row) };
}

function lastIn(view: HTMLElement): number | undefined {
  const rows = rowsOf(view);
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const row = rows[middle] as HTMLElement;
    if (topOf(view, row) + row.offsetHeight / 2 <= view.clientHeight) low = middle + 1;
    else high = middle;
  }
  const row = rows[low - 1];
  return row && Number(row.dataset.seq);
}
