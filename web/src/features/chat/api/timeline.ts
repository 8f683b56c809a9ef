/**
 * A conversation's messages as a window over its history: some pages next to each other, the newest first, so that a
 * conversation of any length costs the same. Pure functions over what TanStack Query keeps for an infinite query.
 *
 * A page is named by its `before`: the messages in front of that place; `null` is the end of the conversation. The
 * server pages backwards only. To come forward again, the places between pages are remembered (`Marks`): the page in
 * front of a known place is the same whenever it is asked for, because places are never given twice.
 */

import type { InfiniteData } from '@tanstack/react-query';
import type { Message } from '@parlor/client';

export type Before = number | null;
/** Newest first. */
export interface MessagePage {
  items: Message[];
  /** Whether the conversation begins here. */
  first: boolean;
}
export type Timeline = InfiniteData<MessagePage, Before>;

/** Messages of a page: few enough that one more is drawn between two pictures while somebody scrolls. */
export const PAGE = 25;
/** Pages that are kept; those further away are let go. */
export const PAGES = 12;

/** The places between the pages of a conversation, newest first; the end of the conversation is not among them. */
export class Marks {
  #places: number[] = [];
  /** Messages behind the newest place, up to the end. */
  #behind = 0;

  /** The end of the conversation was read, with so many messages. */
  begin(messages: number): void {
    this.#places = [];
    this.#behind = messages;
  }

  /** The page behind which an older one begins at `place`. */
  older(place: number): void {
    const last = this.#places.at(-1);
    if (last === undefined || place < last) this.#places.push(place);
  }

  /** The page in front of the one that is named `before`; undefined: that is the end. */
  newer(before: Before): Before | undefined {
    if (before === null) return undefined;
    const at = this.#places.indexOf(before);
    return at <= 0 ? null : this.#places[at - 1];
  }

  /** Of the newest messages those that stand behind the newest place: the rest is in the page in front of them. */
  end(newest: readonly Message[]): Message[] {
    const [place = 0] = this.#places;
    return newest.filter((message) => message.seq >= place);
  }

  /** A message came. Says where the end of the conversation becomes a page of its own and another end begins. */
  came(seq: number): number | undefined {
    if (this.#behind < PAGE) {
      this.#behind += 1;
      return undefined;
    }
    this.#places.unshift(seq);
    this.#behind = 1;
    return seq;
  }
}

/** Adds what came, oldest first, to a window that shows the end of the conversation; another window stays as it is. */
export function append(timeline: Timeline, messages: readonly Message[], marks: Marks): Timeline {
  let { pages, pageParams } = timeline;
  for (const message of messages) {
    // A place between pages is made also when nobody looks there.
    if (pages.some((page) => page.items.some((known) => known.seq === message.seq))) continue;
    const split = marks.came(message.seq);
    if (pageParams[0] !== null) continue;
    const [end, ...rest] = pages;
    if (!end) continue;
    if (split === undefined) {
      pages = [{ ...end, items: [message, ...end.items] }, ...rest];
    } else {
      pages = [{ items: [message], first: false }, end, ...rest];
      pageParams = [null, split, ...pageParams.slice(1)];
    }
  }
  if (pages === timeline.pages) return timeline;
  return { pages: pages.slice(0, PAGES), pageParams: pageParams.slice(0, PAGES) };
}

/** All of the window, oldest first. */
export function inOrder(timeline: Timeline | undefined): Message[] {
  return timeline ? timeline.pages.toReversed().flatMap((page) => page.items.toReversed()) : [];
}
