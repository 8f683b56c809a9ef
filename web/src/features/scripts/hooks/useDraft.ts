/** What stands in the editor: kept in this browser until it is a version. */

import { useQuery } from '@tanstack/react-query';
import { useCallback, useEffect, useState } from 'react';

import { keep, storage } from '@/lib/storage.ts';

import { beginning } from '../api/beginnings.ts';
import { sourceOf, versionsOf, type Direction, type Language, type Owner, type Sample, type Template, type Version } from '../api/scripts.ts';

export interface Draft {
  source: string;
  language: Language['language'];
  samples: Sample[];
}

const SAMPLE: Record<Direction, Sample[]> = {
  incoming: [{ messageBody: 'Hello! Are you there?' }],
  outgoing: [{ messageBody: 'See you at eight.' }],
};

function read(place: string): Draft | undefined {
  try {
    const kept = JSON.parse(storage.getItem(place) ?? 'null') as Draft | null;
    return kept && typeof kept.source === 'string' && Array.isArray(kept.samples) ? kept : undefined;
  } catch {
    return undefined;
  }
}

export function useDraft(me: number, owner: Owner, direction: Direction) {
  // The sign-out takes everything that begins so.
  const place = `parlor.draft.${me}.script.${owner}.${direction}`;
  const [draft, setDraft] = useState<Draft | undefined>(() => read(place));
  const { data: versions } = useQuery(versionsOf(owner, direction));
  const newest: Version | undefined = versions?.[0];
  const { data: source } = useQuery({ ...sourceOf(owner, direction, newest?.version ?? 0), enabled: newest !== undefined });

  useEffect(() => {
    if (draft || !versions) return;
    if (!newest) setDraft({ source: beginning('luau', direction), language: 'luau', samples: SAMPLE[direction] });
    else if (source !== undefined) setDraft({ source, language: newest.language, samples: SAMPLE[direction] });
  }, [draft, versions, newest, source, direction]);

  const change = useCallback((part: Partial<Draft>) => {
    setDraft((before) => {
      const next = { ...(before ?? { source: '', language: 'luau' as const, samples: [] }), ...part };
      // Where there is no room, the draft lives as long as this tab.
      keep(place, JSON.stringify(next));
      return next;
    });
  }, [place]);
  const use = useCallback((template: Template) => {
    change({ source: template.source, language: template.language, samples: template.samples as unknown as Sample[] });
  }, [change]);
  return { draft, change, use, newest, kept: source };
}
