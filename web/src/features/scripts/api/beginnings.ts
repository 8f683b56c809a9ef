/** What stands in the editor before anybody has written anything. */

import type { Direction, Language } from './scripts.ts';

type Sources = Record<Direction, string>;

const jolie = (comment: string, result: string) => `// ${comment}

include "console.iol"
include "json_utils.iol"

main {
  getJsonValue@JsonUtils( args[0] )( message );
  ${result};
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}
`;

const LUAU: Sources = {
  incoming: '-- What others send you. Return what shall become of it.\n\nfunction incoming(message)\n  return { action = "FORWARD" }\nend\n',
  outgoing: '-- What you send. Return what shall be sent instead.\n\nfunction outgoing(message)\n  return { messageBody = message.messageBody }\nend\n',
};

const BEGINNINGS: Record<string, Sources> = {
  luau: LUAU,
  jolie: {
    incoming: jolie('What others send you. Print what shall become of it.', 'result.action = "FORWARD"'),
    outgoing: jolie('What you send. Print what shall be sent instead.', 'result.messageBody = message.messageBody'),
  },
};

export const beginning = (language: Language['language'], direction: Direction): string => (BEGINNINGS[language] ?? LUAU)[direction];

/** The same source in another language, as far as that can be: one that nobody has touched yet. */
export function translated(source: string, to: Language['language'], direction: Direction): string {
  const untouched = Object.values(BEGINNINGS).some((sources) => sources[direction] === source);
  return untouched || source.trim() === '' ? beginning(to, direction) : source;
}
