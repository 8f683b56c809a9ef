/** Finds addresses in a text. Only `http` and `https`, as they stand there: what is shown is where it leads. */

export interface Piece {
  text: string;
  href?: string;
}

const ADDRESS = /\bhttps?:\/\/[^\s<>"'`\u200e\u200f\u202a-\u202e\u2066-\u2069]+/giu;
/** Ends a sentence more often than an address. */
const ENDING = /[.,;:!?…'"”’»*_~]+$/u;

export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let from = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = trimmed(match[0]);
    const href = safe(address);
    if (href === undefined) continue;
    if (match.index > from) found.push({ text: text.slice(from, match.index) });
    found.push({ text: address, href });
    from = match.index + address.length;
  }
  if (from < text.length) found.push({ text: text.slice(from) });
  return found;
}

/** Without what belongs to the sentence around it: full stops, and a bracket that was opened outside. */
function trimmed(address: string): string {
  let text = address.replace(ENDING, '');
  for (const [open, close] of [['(', ')'], ['[', ']'], ['{', '}']] as const) {
    while (text.endsWith(close) && text.split(close).length > text.split(open).length) text = text.slice(0, -1).replace(ENDING, '');
  }
  return text;
}

function safe(address: string): string | undefined {
  try {
    const url = new URL(address);
    const named = url.hostname !== '' && url.username === '' && url.password === '';
    return named && (url.protocol === 'http:' || url.protocol === 'https:') ? url.href : undefined;
  } catch {
    return undefined;
  }
}
