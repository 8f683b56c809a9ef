/**
 * The editor. It stands in a shadow root: there CodeMirror brings its styles as constructed sheets, which the page's
 * policy allows, and not as `<style>` elements, which it refuses.
 */

import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { bracketMatching, indentOnInput, indentUnit } from '@codemirror/language';
import { lintGutter, lintKeymap, setDiagnostics, type Diagnostic as Lint } from '@codemirror/lint';
import { unifiedMergeView } from '@codemirror/merge';
import { highlightSelectionMatches, search, searchKeymap } from '@codemirror/search';
import { EditorState, Prec, type Extension, type Text } from '@codemirror/state';
import { drawSelection, EditorView, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers } from '@codemirror/view';
import { useLayoutEffect, useRef } from 'react';

import type { Diagnostic, Direction } from '../api/scripts.ts';
import { editorTheme } from './editor-theme.ts';
import { jolie } from './jolie.ts';
import { luau } from './luau.ts';

/** So long after Escape the next Tab leaves the editor. */
const LEAVING_MS = 2_000;
/**
 * Escape frees Tab, so that the keyboard is not caught here. CodeMirror does so itself, but not with an Escape that closed
 * something too, and a list of completions may be open without an entry.
 */
const LEAVING = Prec.highest(EditorView.domEventHandlers({
  keydown: (event, view) => {
    if (event.key === 'Escape') view.setTabFocusMode(LEAVING_MS);
    return false;
  },
}));

interface EditorProps {
  /** Another text is put into the editor; what is typed comes out by `onChange`. */
  text: string;
  onChange?: (text: string) => void;
  diagnostics?: readonly Diagnostic[];
  language: string;
  direction: Direction;
  label: string;
  readOnly?: boolean;
  /** Shows what is different from this. */
  original?: string;
}

export default function Editor({ text, onChange, diagnostics, language, direction, label, readOnly = false, original }: EditorProps) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(null);
  const changed = useRef(onChange);
  changed.current = onChange;
  const first = useRef(text);
  first.current = text;

  // Layout effects, all of them: they run in the same task as the drawing. Later, and another letter would have been
  // typed meanwhile; the text of a moment ago would be put over it.
  useLayoutEffect(() => {
    const element = host.current;
    if (!element) return undefined;
    const root = element.shadowRoot ?? element.attachShadow({ mode: 'open' });
    const made = new EditorView({ root, parent: root as unknown as Element, state: EditorState.create({ doc: first.current, extensions: extensions() }) });
    view.current = made;
    return () => made.destroy();

    function extensions(): Extension[] {
      const common = [
        lineNumbers(), drawSelection(), bracketMatching(), highlightSelectionMatches(), search(), editorTheme(),
        EditorView.contentAttributes.of({ 'aria-label': label, 'aria-description': readOnly ? '' : 'Tab indents. Escape, then Tab, leaves the editor.', tabindex: '0' }), EditorView.lineWrapping,
        language === 'jolie' ? jolie() : luau(direction),
        keymap.of([...searchKeymap]),
      ];
      if (original !== undefined) common.push(unifiedMergeView({ original, mergeControls: false, collapseUnchanged: { margin: 3, minSize: 6 } }));
      if (readOnly) return [...common, EditorState.readOnly.of(true)];
      return [
        ...common, history(), indentUnit.of('  '), indentOnInput(), closeBrackets(), autocompletion(), lintGutter(), highlightActiveLine(), highlightActiveLineGutter(),
        LEAVING,
        keymap.of([...closeBracketsKeymap, ...completionKeymap, ...lintKeymap, ...historyKeymap, ...defaultKeymap, indentWithTab]),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) changed.current?.(update.state.doc.toString());
        }),
      ];
    }
  }, [language, direction, label, readOnly, original]);

  useLayoutEffect(() => {
    const editor = view.current;
    if (!editor || editor.state.doc.toString() === text) return;
    editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: text } });
  }, [text]);

  useLayoutEffect(() => {
    const editor = view.current;
    if (!editor || readOnly) return;
    editor.dispatch(setDiagnostics(editor.state, (diagnostics ?? []).map((found) => placed(editor.state.doc, found))));
  }, [diagnostics, readOnly, language, direction, original]);

  return <div className="editor" ref={host} />;
}

/** From line and column to a range: the word there, or the rest of the line. */
function placed(doc: Text, { line, column, message, severity }: Diagnostic): Lint {
  const at = doc.line(Math.min(Math.max(1, line), doc.lines));
  const from = Math.min(at.from + column - 1, at.to);
  const word = /^\w+/.exec(doc.sliceString(from, at.to))?.[0].length;
  const to = word ? from + word : at.to;
  return { from: from === to ? Math.max(at.from, from - 1) : from, to, severity, message };
}
