/** Has the server look at what is written, as one writes: whether it compiles, and what it would do. */

import { useEffect, useRef, useState } from 'react';

import { ProblemError } from '@/lib/api.ts';

import { tryOut, type Diagnostic, type Direction, type Language, type Owner, type Sample, type Tried } from '../api/scripts.ts';

/** Nothing was typed for this long: then it is looked at. */
const STILL_MS = 600;
/** Between two looks, so that there is an allowance left for what somebody asks for by hand. */
const EVERY_MS = 1_600;

export type Check =
  | { name: 'none' }
  | { name: 'looking' }
  | { name: 'good'; tried: Tried; diagnostics: readonly Diagnostic[]; source: string }
  | { name: 'wrong'; diagnostics: readonly Diagnostic[]; detail: string }
  | { name: 'unknown'; detail: string };

const NOTHING: readonly Diagnostic[] = [];
export const diagnosticsOf = (check: Check): readonly Diagnostic[] => ('diagnostics' in check ? check.diagnostics : NOTHING);

interface Checked {
  owner: Owner;
  direction: Direction;
  language: Language['language'];
  source: string;
  samples: readonly Sample[];
}

export function useCheck({ owner, direction, language, source, samples }: Checked): Check {
  const [check, setCheck] = useState<Check>({ name: 'none' });
  const next = useRef(0);
  const key = JSON.stringify(samples);
  useEffect(() => {
    if (source.trim() === '') {
      setCheck({ name: 'none' });
      return undefined;
    }
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    const look = async () => {
      next.current = Date.now() + EVERY_MS;
      setCheck((before) => (before.name === 'none' || before.name === 'unknown' ? { name: 'looking' } : before));
      try {
        const tried = await tryOut(owner, direction, { source, language, messages: JSON.parse(key) as Sample[] }, abort.signal);
        if (!abort.signal.aborted) setCheck({ name: 'good', tried, diagnostics: tried.warnings, source });
      } catch (error) {
        if (abort.signal.aborted) return;
        const problem = error instanceof ProblemError ? error.problem : undefined;
        if (problem?.code === 'script_does_not_compile') {
          setCheck({ name: 'wrong', diagnostics: problem.diagnostics ?? NOTHING, detail: problem.detail });
        } else {
          setCheck({ name: 'unknown', detail: problem?.detail ?? String(error) });
          const wait = error instanceof ProblemError ? error.retryAfterMs : undefined;
          if (wait !== undefined) timer = setTimeout(() => void look(), wait);
        }
      }
    };
    timer = setTimeout(() => void look(), Math.max(STILL_MS, next.current - Date.now()));
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [owner, direction, language, source, key]);
  return check;
}
