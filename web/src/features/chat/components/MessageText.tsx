/** A message's text: always text. Addresses of pages become links, nothing else becomes anything. */

import { Fragment } from 'react';

import { pieces } from './links.ts';

export function MessageText({ text }: { text: string }) {
  return pieces(text).map((piece, n) =>
    piece.href === undefined ? (
      <Fragment key={n}>{piece.text}</Fragment>
    ) : (
      <a key={n} href={piece.href} target="_blank" rel="noopener noreferrer nofollow">{piece.text}</a>
    ));
}
