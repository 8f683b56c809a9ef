/** Jolie for the editor: colours only. */

import { LanguageSupport, StreamLanguage } from '@codemirror/language';

const KEYWORDS = new Set(('include type interface service inputPort outputPort main init define execution concurrent sequential single embedded if else for foreach while in ' +
  'scope install throw cH comp nullProcess exit OneWay RequestResponse Location Protocol Interfaces Aggregates Redirects global csets constants from import as').split(' '));
const TYPES = new Set(['int', 'long', 'double', 'string', 'bool', 'raw', 'void', 'any', 'undefined']);

const language = StreamLanguage.define<{ comment: boolean }>({
  name: 'jolie',
  startState: () => ({ comment: false }),
  token(stream, state) {
    if (state.comment || stream.match('/*')) {
      state.comment = !stream.match(/^.*?\*\//);
      if (state.comment) stream.skipToEnd();
      return 'comment';
    }
    if (stream.eatSpace()) return null;
    if (stream.match('//')) {
      stream.skipToEnd();
      return 'comment';
    }
    if (stream.match(/^"(?:[^"\\]|\\.)*"?/)) return 'string';
    if (stream.match(/^\d+(?:\.\d+)?/)) return 'number';
    const word = stream.match(/^[A-Za-z_]\w*/) as RegExpMatchArray | null;
    if (word) {
      const [text] = word;
      if (KEYWORDS.has(text)) return 'keyword';
      if (TYPES.has(text)) return 'typeName';
      if (text === 'true' || text === 'false') return 'atom';
      return stream.match(/^\s*@/, false) ? 'variableName.function' : 'variableName';
    }
    if (stream.match(/^(?:[-+*/%]=|[=!<>]=|&&|\|\||<<|->|\+\+|--|[-+*/%=<>!#@])/)) return 'operator';
    stream.next();
    return 'punctuation';
  },
  languageData: { commentTokens: { line: '//', block: { open: '/*', close: '*/' } } },
});

export const jolie = (): LanguageSupport => new LanguageSupport(language);
