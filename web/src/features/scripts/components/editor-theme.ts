/** How code looks, in the colours of the page. */

import { HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { EditorView } from '@codemirror/view';
import { tags } from '@lezer/highlight';

const dark = (): boolean => {
  const chosen = document.documentElement.dataset.theme;
  return chosen === 'dark' || (chosen !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
};

const COLOURS = {
  light: { keyword: '#8a2f6b', string: '#2a6a2a', number: '#9a4a00', comment: '#6b6659', fn: '#1c5a8c', own: '#1b6454', property: '#4a4aa0' },
  dark: { keyword: '#e19ac8', string: '#9fd08c', number: '#e6b070', comment: '#989b8f', fn: '#8dbfe8', own: '#84c7ae', property: '#b4b4f0' },
};

export function editorTheme() {
  const isDark = dark();
  const colour = COLOURS[isDark ? 'dark' : 'light'];
  const theme = EditorView.theme({
    '&': { height: '100%', backgroundColor: 'var(--code-ground)', color: 'var(--text)', fontSize: '13.5px' },
    '&.cm-focused': { outline: '2px solid var(--accent)', outlineOffset: '-2px' },
    '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.55' },
    '.cm-content': { padding: '10px 0', caretColor: 'var(--text)' },
    '.cm-cursor': { borderLeftColor: 'var(--text)' },
    '.cm-gutters': { backgroundColor: 'var(--code-ground)', color: 'var(--soft)', border: '0', paddingLeft: '4px' },
    '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'color-mix(in srgb, var(--accent) 8%, transparent)' },
    '&.cm-focused .cm-selectionBackground, .cm-selectionBackground': { backgroundColor: 'color-mix(in srgb, var(--accent) 28%, transparent) !important' },
    '.cm-tooltip': { border: '1px solid var(--line)', borderRadius: '8px', backgroundColor: 'var(--panel)', color: 'var(--text)', boxShadow: 'var(--shadow)', overflow: 'hidden' },
    '.cm-tooltip-autocomplete > ul': { fontFamily: 'var(--mono)', maxHeight: '15em' },
    '.cm-tooltip-autocomplete > ul > li': { padding: '3px 10px' },
    '.cm-tooltip-autocomplete > ul > li[aria-selected]': { backgroundColor: 'var(--accent)', color: 'var(--on-accent)' },
    '.cm-completionDetail': { marginLeft: '1em', color: 'inherit', opacity: '0.85', fontStyle: 'normal' },
    '.cm-completionInfo': { padding: '8px 12px', maxWidth: '280px', fontFamily: 'system-ui, sans-serif' },
    '.cm-diagnostic': { padding: '6px 12px', fontFamily: 'system-ui, sans-serif' },
    '.cm-panels': { backgroundColor: 'var(--panel-2)', color: 'var(--text)' },
    '.cm-panel input, .cm-panel button': { font: 'inherit' },
    '.cm-deletedChunk': { backgroundColor: 'var(--bad-soft)' },
    '.cm-changedLine': { backgroundColor: 'var(--good-soft) !important' },
    '.cm-collapsedLines': { backgroundColor: 'var(--panel-2)', backgroundImage: 'none', color: 'var(--soft)' },
  }, { dark: isDark });
  const highlight = HighlightStyle.define([
    { tag: tags.keyword, color: colour.keyword },
    { tag: [tags.string, tags.special(tags.string)], color: colour.string },
    { tag: [tags.number, tags.atom, tags.bool], color: colour.number },
    { tag: tags.comment, color: colour.comment, fontStyle: 'italic' },
    { tag: [tags.function(tags.variableName), tags.standard(tags.variableName)], color: colour.fn },
    { tag: tags.special(tags.variableName), color: colour.own },
    { tag: tags.propertyName, color: colour.property },
    { tag: tags.typeName, color: colour.own },
  ]);
  return [theme, syntaxHighlighting(highlight)];
}
