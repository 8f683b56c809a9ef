/** What the draft would do: with samples as one types, with one's own last messages when asked. Nothing is sent. */

import { useMutation } from '@tanstack/react-query';
import { useId } from 'react';

import { Button, IconButton } from '@/components/Button.tsx';
import { Note } from '@/components/States.tsx';
import { useLive } from '@/features/chat/hooks/useLive.tsx';
import { answered, api, words } from '@/lib/api.ts';

import { tryOut, type Direction, type Owner, type Result, type Sample } from '../api/scripts.ts';
import type { Check } from '../hooks/useCheck.ts';
import type { Draft } from '../hooks/useDraft.ts';
import { Outcome } from './Outcome.tsx';

/** As many as are run while one types. */
const MOST = 5;
/** Own messages of one try, and how far back their texts are looked for. */
const LAST = 5;
const LOOK_BACK = 100;

interface TryPanelProps {
  owner: Owner;
  direction: Direction;
  draft: Draft;
  change: (part: Partial<Draft>) => void;
  check: Check;
}

export function TryPanel({ owner, direction, draft, change, check }: TryPanelProps) {
  const results = check.name === 'good' ? check.tried.results : [];
  const edit = (n: number, part: Partial<Sample>) => change({ samples: draft.samples.map((sample, at) => (at === n ? { ...sample, ...part } : sample)) });
  return (
    <div className="stack">
      <p className="hint">{direction === 'incoming' ? 'A message to you, and what would become of it.' : 'A message of yours, and what would be sent.'} Nothing is sent.</p>
      {draft.samples.map((sample, n) => (
        <SampleCard key={n} n={n} sample={sample} direction={direction} result={n < MOST ? results[n] : undefined} stale={check.name !== 'good' || check.source !== draft.source}
          onChange={(part) => edit(n, part)} onRemove={draft.samples.length > 1 ? () => change({ samples: draft.samples.filter((_, at) => at !== n) }) : undefined} />
      ))}
      <div className="line">
        <Button icon="plus" disabled={draft.samples.length >= MOST} onClick={() => change({ samples: [...draft.samples, { messageBody: 'Another message' }] })}>Another sample</Button>
        {owner === 'me' && <OwnMessages direction={direction} draft={draft} disabled={check.name === 'wrong'} />}
      </div>
    </div>
  );
}

interface SampleCardProps {
  n: number;
  sample: Sample;
  direction: Direction;
  result?: Result;
  stale: boolean;
  onChange: (part: Partial<Sample>) => void;
  onRemove?: () => void;
}

function SampleCard({ n, sample, direction, result, stale, onChange, onRemove }: SampleCardProps) {
  const id = useId();
  return (
    <article className="try">
      <div className="try-before">
        <div className="line spread">
          <label className="label" htmlFor={id}>{direction === 'incoming' ? 'Comes in' : 'You write'}</label>
          {onRemove && <IconButton icon="close" label={`Remove sample ${n + 1}`} className="small" onClick={onRemove} />}
        </div>
        <textarea id={id} className="input" rows={2} value={sample.messageBody} onChange={(event) => onChange({ messageBody: event.target.value })} />
        {direction === 'incoming' && (
          <div className="line try-options">
            <label><input type="checkbox" checked={sample.firstContact ?? false} onChange={(event) => onChange({ firstContact: event.target.checked })} />First contact</label>
            <label><input type="checkbox" checked={sample.fromAutoReply ?? false} onChange={(event) => onChange({ fromAutoReply: event.target.checked })} />Automatic</label>
            {sample.senderId != null && <span className="hint">from user {sample.senderId}</span>}
            {sample.sentAt != null && <span className="hint">at {sample.sentAt}</span>}
          </div>
        )}
      </div>
      <div className={stale ? 'try-after stale' : 'try-after'}>
        <p className="label">Then</p>
        {result ? <Outcome result={result} body={sample.messageBody} direction={direction} /> : <p className="hint">{stale ? 'When it compiles.' : 'Not run.'}</p>}
      </div>
    </article>
  );
}

function OwnMessages({ direction, draft, disabled }: { direction: Direction; draft: Draft; disabled: boolean }) {
  const { connection } = useLive();
  const run = useMutation({
    mutationFn: async () => {
      const after = Math.max(0, (connection.seq ?? 0) - LOOK_BACK);
      const [tried, inbox] = await Promise.all([
        tryOut('me', direction, { source: draft.source, language: draft.language, last: LAST }),
        answered(api.GET('/api/v1/inbox', { params: { query: { after, limit: LOOK_BACK } } })),
      ]);
      const bodies = new Map(inbox.items.map((message) => [message.messageUid, message.messageBody]));
      return tried.results.map((result) => ({ result, body: bodies.get(result.messageUid ?? '') ?? '(an older message)' }));
    },
  });
  return (
    <>
      <Button icon="history" disabled={disabled} busy={run.isPending} onClick={() => run.mutate()}>My last {LAST} messages</Button>
      {run.error && <Note kind="bad">{words(run.error)}</Note>}
      {run.data?.length === 0 && <Note>You have {direction === 'incoming' ? 'got' : 'sent'} none yet.</Note>}
      {run.data?.map(({ result, body }, n) => (
        <article className="try own-message" key={result.messageUid ?? n}>
          <div className="try-before"><p className="label">{direction === 'incoming' ? 'Came in' : 'You wrote'}</p><p className="message-text">{body}</p></div>
          <div className="try-after"><p className="label">Then</p><Outcome result={result} body={body} direction={direction} /></div>
        </article>
      ))}
    </>
  );
}
