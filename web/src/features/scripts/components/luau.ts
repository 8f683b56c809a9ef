/** Luau for the editor: colours, and what can be completed. */

import type { Completion, CompletionContext, CompletionResult } from '@codemirror/autocomplete';
import { snippetCompletion } from '@codemirror/autocomplete';
import { indentService, LanguageSupport, StreamLanguage, type StringStream } from '@codemirror/language';

import type { Direction } from '../api/scripts.ts';

const KEYWORDS = new Set(('and break continue do else elseif end export for function if in local not or repeat return then type until while').split(' '));
const ATOMS = new Set(['true', 'false', 'nil']);
const GLOBALS = ('assert error getmetatable ipairs next pairs pcall print rawequal rawget rawlen rawset select setmetatable tonumber tostring type typeof unpack xpcall ' +
  'bit32 buffer coroutine math os string table utf8').split(' ');
const BUILT_IN = new Set(GLOBALS);

interface State {
  /** Of a long bracket that is open, how many `=` it has; with what it is. */
  open: { level: number; kind: 'string' | 'comment' } | null;
  afterDot: boolean;
}

function longBracket(stream: StringStream, state: State): string {
  const { level, kind } = state.open as NonNullable<State['open']>;
  while (!stream.eol()) {
    if (stream.match(new RegExp(`^\\]={${level}}\\]`))) {
      state.open = null;
      return kind;
    }
    stream.next();
  }
  return kind;
}

export const luauLanguage = StreamLanguage.define<State>({
  name: 'luau',
  startState: () => ({ open: null, afterDot: false }),
  token(stream, state) {
    if (state.open) return longBracket(stream, state);
    if (stream.eatSpace()) return null;
    const afterDot = state.afterDot;
    state.afterDot = false;
    if (stream.match('--')) {
      const long = stream.match(/^\[(=*)\[/) as RegExpMatchArray | null;
      if (long) {
        state.open = { level: long[1]?.length ?? 0, kind: 'comment' };
        return longBracket(stream, state);
      }
      stream.skipToEnd();
      return 'comment';
    }
    const long = stream.match(/^\[(=*)\[/) as RegExpMatchArray | null;
    if (long) {
      state.open = { level: long[1]?.length ?? 0, kind: 'string' };
      return longBracket(stream, state);
    }
    if (stream.match(/^"(?:[^"\\]|\\.)*"?/) || stream.match(/^'(?:[^'\\]|\\.)*'?/) || stream.match(/^`(?:[^`\\]|\\.)*`?/)) return 'string';
    if (stream.match(/^0[xX][\da-fA-F_]+/) || stream.match(/^0[bB][01_]+/) || stream.match(/^\d[\d_]*(?:\.[\d_]*)?(?:[eE][+-]?\d+)?/)) return 'number';
    const word = stream.match(/^[A-Za-z_]\w*/) as RegExpMatchArray | null;
    if (word) {
      const [text] = word;
      if (afterDot) return 'propertyName';
      if (KEYWORDS.has(text)) return 'keyword';
      if (ATOMS.has(text)) return 'atom';
      if (text === 'message') return 'variableName.special';
      if (BUILT_IN.has(text)) return 'variableName.standard';
      return stream.match(/^\s*\(/, false) ? 'variableName.function' : 'variableName';
    }
    if (stream.match(/^[.:](?=[A-Za-z_])/)) {
      state.afterDot = true;
      return 'punctuation';
    }
    if (stream.match(/^(?:[-+*/%^.]=|\.\.=?|[=~<>]=|[-+*/%^#<>=])/)) return 'operator';
    stream.next();
    return 'punctuation';
  },
  languageData: { commentTokens: { line: '--', block: { open: '--[[', close: ']]' } }, closeBrackets: { brackets: ['(', '[', '{', '"', "'"] }, indentOnInput: /^\s*(?:end|else|elseif\b.*|until\b.*|\})$/ },
});

/** The line before says how far in; what opens a block one step more, what closes one a step less. */
const indentation = indentService.of((context, pos) => {
  let line = context.lineAt(pos, -1);
  const after = line.text.slice(pos - line.from);
  line = context.lineAt(Math.max(0, line.from - 1), -1);
  while (line.from > 0 && line.text.trim() === '') line = context.lineAt(line.from - 1, -1);
  const own = context.countColumn(line.text, line.text.search(/\S|$/));
  const code = line.text.replace(/--.*$/, '').trimEnd();
  const opens = /(?:\bthen|\bdo|\brepeat|\belse|\{|\()$/.test(code) || (/\bfunction\b.*\)$/.test(code) && !/\bend\b/.test(code));
  const closes = /^\s*(?:end\b|else\b|elseif\b|until\b|[})])/.test(after);
  return Math.max(0, own + (opens ? context.unit : 0) - (closes ? context.unit : 0));
});

const FIELDS: Record<string, [type: string, info: string, incomingOnly?: true]> = {
  messageBody: ['string', 'The text.'],
  ownId: ['number', 'Your user id.'],
  recipientIds: ['{ number }', 'All whom the sender addressed.'],
  senderId: ['number', 'Who wrote it.', true],
  fromAutoReply: ['boolean', 'Whether a script or an auto-reply wrote it. Such messages can be dropped, and are never answered.', true],
  conversationId: ['string', 'Its conversation, a UUID.', true],
  sentAt: ['string', 'When, such as "2026-11-24T12:00:00.000Z". The same moment as os.time().', true],
  firstContact: ['boolean', 'Whether nobody has written in this conversation before.', true],
};
const MEMBERS: Record<string, string> = {
  string: 'byte char find format gmatch gsub len lower match pack packsize rep reverse split sub unpack upper',
  table: 'clear clone concat create find foreach freeze insert isfrozen maxn move pack remove sort unpack',
  math: 'abs acos asin atan atan2 ceil clamp cos deg exp floor fmod huge lerp log log10 map max min modf noise pi pow rad random randomseed round sign sin sqrt tan',
  os: 'clock date difftime time',
  utf8: 'char charpattern codepoint codes len offset',
  bit32: 'band bnot bor btest bxor countlz countrz extract lrotate lshift replace rrotate rshift',
  coroutine: 'close create isyieldable resume running status wrap yield',
  buffer: 'copy create fill fromstring len readi32 readstring readu8 tostring writei32 writestring writeu8',
};

const RESULTS: Record<Direction, Completion[]> = {
  incoming: [
    snippetCompletion('action = "FORWARD"', { label: 'action = "FORWARD"', type: 'property', detail: 'you get the message' }),
    snippetCompletion('action = "DROP"', { label: 'action = "DROP"', type: 'property', detail: 'it goes to your filtered list' }),
    snippetCompletion('reply = { { to = message.senderId, message = "${text}" } }', { label: 'reply = { … }', type: 'property', detail: 'answers' }),
  ],
  outgoing: [snippetCompletion('messageBody = ${message.messageBody}', { label: 'messageBody = …', type: 'property', detail: 'what is sent instead' })],
};

export function luau(direction: Direction): LanguageSupport {
  const fields = Object.entries(FIELDS)
    .filter(([, [, , incomingOnly]]) => direction === 'incoming' || !incomingOnly)
    .map(([label, [detail, info]]): Completion => ({ label, detail, info, type: 'property' }));
  const words = [...KEYWORDS].map((label): Completion => ({ label, type: 'keyword' }));
  const globals = GLOBALS.map((label): Completion => ({ label, type: label in MEMBERS ? 'namespace' : 'function' }));
  const skeleton = direction === 'incoming'
    ? snippetCompletion('function incoming(message)\n\t${}\n\treturn { action = "FORWARD" }\nend', { label: 'function incoming', type: 'keyword', detail: 'what others send you' })
    : snippetCompletion('function outgoing(message)\n\t${}\n\treturn { messageBody = message.messageBody }\nend', { label: 'function outgoing', type: 'keyword', detail: 'what you send' });

  const complete = (context: CompletionContext): CompletionResult | null => {
    const { text, from } = context.state.doc.lineAt(context.pos);
    const before = text.slice(0, context.pos - from);
    if (/--/.test(before)) return null;
    const member = /([A-Za-z_]\w*)\.(\w*)$/.exec(before);
    if (member) {
      const [, owner = '', typed = ''] = member;
      const options = owner === 'message' ? fields : (MEMBERS[owner] ?? '').split(' ').filter(Boolean).map((label): Completion => ({ label, type: 'function' }));
      return options.length > 0 ? { from: context.pos - typed.length, options, validFor: /^\w*$/ } : null;
    }
    const word = context.matchBefore(/\w+$/);
    const inTable = /\{\s*\w*$/.test(before);
    if (!word && !context.explicit && !inTable) return null;
    const names = [...new Set(context.state.doc.toString().match(/\b[A-Za-z_]\w{2,}\b/g))]
      .filter((label) => !KEYWORDS.has(label) && !BUILT_IN.has(label) && label !== word?.text)
      .map((label): Completion => ({ label, type: 'variable', boost: -1 }));
    return { from: word?.from ?? context.pos, options: [...(inTable ? RESULTS[direction] : []), skeleton, ...words, ...globals, ...names], validFor: /^\w*$/ };
  };
  return new LanguageSupport(luauLanguage, [luauLanguage.data.of({ autocomplete: complete }), indentation]);
}
