/** What the script did, as it does it. */

import { useQuery } from '@tanstack/react-query';

import { Chip, Empty, Loading, Trouble } from '@/components/States.tsx';
import { usePeople } from '@/features/chat/hooks/usePeople.ts';
import { ago, fullTime, micros } from '@/lib/format.ts';

import { logOf, type Direction, type LogEntry, type Owner } from '../api/scripts.ts';

const KINDS: Record<string, 'good' | 'warn' | 'bad' | 'accent'> = { forward: 'good', drop: 'warn', edited: 'accent', failed: 'bad', switched_off: 'bad' };
const NAMES: Record<string, string> = { forward: 'Forward', drop: 'Drop', edited: 'Edited', failed: 'Failed', switched_off: 'Switched off', left_out: 'Left out' };

export function LogPanel({ owner, direction }: { owner: Owner; direction: Direction }) {
  const { data, error, isPending, refetch } = useQuery(logOf(owner, direction));
  const name = usePeople([...new Set((data ?? []).flatMap((entry) => [...(entry.replies ?? []), ...(entry.unanswered ?? [])].map((reply) => reply.to)))]);
  if (isPending) return <Loading />;
  if (error && !data) return <Trouble error={error} retry={() => void refetch()} />;
  if (data.length === 0) return <Empty icon="history" title="Nothing yet">What the script does will stand here a moment later.</Empty>;
  return (
    <>
      <p className="hint">Kept up as it happens. Runs in which nothing remarkable happens are noted only at first.</p>
      <ul className="log-list">{data.map((entry) => <Row key={entry.id} entry={entry} name={name} />)}</ul>
    </>
  );
}

function Row({ entry, name }: { entry: LogEntry; name: (id: number) => string }) {
  return (
    <li className="run">
      <div className="line">
        <Chip kind={KINDS[entry.verdict] ?? 'neutral'}>{NAMES[entry.verdict] ?? entry.verdict}</Chip>
        {entry.version != null && <span className="hint">version {entry.version}</span>}
        {entry.cpuMicros != null && <span className="hint">{micros(entry.cpuMicros)}</span>}
        <time className="hint run-time" dateTime={entry.at} title={fullTime(entry.at)}>{ago(entry.at)}</time>
      </div>
      {(entry.detail ?? entry.reason) && <p className={entry.verdict === 'failed' ? 'bad' : ''}>{entry.line ? `Line ${entry.line}: ` : ''}{entry.detail ?? entry.reason}</p>}
      {entry.replies?.map((reply, n) => <p className="made" key={n}>to {name(reply.to)}: {reply.message || '(not shown to others)'}</p>)}
      {entry.unanswered?.map((reply, n) => <p className="made unsent" key={n}>not sent to {name(reply.to)}: {reply.message || '(not shown to others)'}</p>)}
      {entry.prints && entry.prints.length > 0 && <pre className="prints">{entry.prints.join('\n')}{entry.printsCut ? '\n…' : ''}</pre>}
    </li>
  );
}
