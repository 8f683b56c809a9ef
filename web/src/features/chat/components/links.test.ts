/** What becomes a link, and what never does. */

import { expect, test } from 'vitest';

import { pieces } from './links.ts';

const links = (text: string) => pieces(text).filter((piece) => piece.href !== undefined).map((piece) => piece.text);

test.each([
  ['see https://example.org/a?b=c#d, and', ['https://example.org/a?b=c#d']],
  ['(https://example.org/wiki/A_(b))', ['https://example.org/wiki/A_(b)']],
  ['[see https://example.org/x[1].]', ['https://example.org/x[1]']],
  ['https://example.org/a.).', ['https://example.org/a']],
  ['HTTPS://EXAMPLE.ORG.', ['HTTPS://EXAMPLE.ORG']],
  ['https://a.example http://b.example', ['https://a.example', 'http://b.example']],
  ['javascript:alert(1) data:text/html,x vbscript:x file:///etc/passwd', []],
  ['https://user:password@example.org', []],
  ['https:// http://', []],
  ['<a href="javascript:alert(1)">https://example.org</a>', ['https://example.org']],
  ['https://example.org/"onmouseover="alert(1)', ['https://example.org/']],
  ['https://example.org/\u202egnp.exe', ['https://example.org/']],
])('%j', (text, expected) => {
  expect(links(text)).toEqual(expected);
  expect(pieces(text).map((piece) => piece.text).join('')).toBe(text);
});

test.each([
  ['brackets', `https://a.example/${')'.repeat(60_000)}`],
  ['full stops, and then no end', `https://a.example/${'.'.repeat(60_000)}x`],
  ['addresses', 'https://a.example '.repeat(3_500)],
])('the longest message made of %s takes no time', (_, text) => {
  const begun = performance.now();
  expect(pieces(text).map((piece) => piece.text).join('')).toBe(text);
  expect(performance.now() - begun).toBeLessThan(500);
});
