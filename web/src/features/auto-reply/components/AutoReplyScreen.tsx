/** The standing auto-reply: what it says, how it looks to others, and what it did. */

import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';

import { Button } from '@/components/Button.tsx';
import { Icon } from '@/components/Icon.tsx';
import { Chip, Empty, Loading, Note, Trouble } from '@/components/States.tsx';
import { Switch } from '@/components/Switch.tsx';
import { usePeople } from '@/features/chat/hooks/usePeople.ts';
import { words } from '@/lib/api.ts';
import { ago, clockTime, fullTime } from '@/lib/format.ts';

import { fetchLog, fetchSettings, logKey, putSettings, settingsKey, type LogEntry, type Settings } from '../api/auto-reply.ts';

const REPEATS: [number, string][] = [
  [0, 'Every message is answered'],
  [600, 'Once in ten minutes'],
  [3600, 'Once an hour'],
  [28_800, 'Once in eight hours'],
  [86_400, 'Once a day'],
  [604_800, 'Once a week'],
];

export default function AutoReplyScreen() {
  const { data, error, refetch } = useQuery({ queryKey: settingsKey, queryFn: fetchSettings });
  return (
    <main className="page">
      <div className="page-inner">
        <header className="page-head">
          <div>
            <h1>Auto-reply</h1>
            <p>Answers for you while you are away: whoever writes gets your text, and their message waits here for you all the same.</p>
          </div>
        </header>
        {!data && !error && <Loading />}
        {error && !data && <Trouble error={error} retry={() => void refetch()} />}
        {data && <Form kept={data} />}
        <Log />
      </div>
    </main>
  );
}

function Form({ kept }: { kept: Settings }) {
  const client = useQueryClient();
  const [draft, setDraft] = useState(kept);
  const save = useMutation({ mutationFn: putSettings, onSuccess: (settings) => client.setQueryData(settingsKey, settings) });
  const repeat = draft.repeatAfterSeconds ?? 3600;
  const changed = JSON.stringify(draft) !== JSON.stringify(kept);
  const empty = draft.enabled && draft.text.trim() === '';
  const change = (part: Partial<Settings>) => {
    save.reset();
    setDraft({ ...draft, ...part });
  };
  const repeats = REPEATS.some(([seconds]) => seconds === repeat) ? REPEATS : [...REPEATS, [repeat, `Once in ${repeat} seconds`] as [number, string]];
  return (
    <div className="two">
      <form className="card stack" onSubmit={(event) => { event.preventDefault(); save.mutate(draft); }}>
        <div className="line spread">
          <Switch on={draft.enabled} onChange={(enabled) => change({ enabled })} label="Answer for me" />
          {kept.enabled ? <Chip kind="good">Answering now</Chip> : <Chip>Off</Chip>}
        </div>
        <div className="field">
          <label htmlFor="text">Text</label>
          <textarea id="text" rows={5} value={draft.text} placeholder="I am away until Monday." aria-invalid={empty || undefined}
            onChange={(event) => change({ text: event.target.value })} />
          {empty && <p className="field-error">An auto-reply that is on needs a text.</p>}
        </div>
        <div className="field">
          <label htmlFor="repeat">How often the same person gets it</label>
          <select id="repeat" value={repeat} onChange={(event) => change({ repeatAfterSeconds: Number(event.target.value) })}>
            {repeats.map(([seconds, label]) => <option key={seconds} value={seconds}>{label}</option>)}
          </select>
        </div>
        {save.error && <Note kind="bad">{words(save.error)}</Note>}
        {save.isSuccess && !changed && <Note kind="good">Saved. It holds for every message from now on.</Note>}
        <div className="line"><Button kind="primary" type="submit" disabled={!changed || empty} busy={save.isPending}>Save</Button></div>
      </form>
      <section className="card stack preview" aria-label="Preview">
        <h2>What others see</h2>
        <div className="preview-thread">
          <div className="message own last"><div className="bubble"><p className="message-text">Are you there?</p><p className="message-foot">{clockTime(Date.now())}</p></div></div>
          {draft.enabled && draft.text.trim() !== '' ? (
            <div className="message other automatic last">
              <div className="bubble">
                <p className="message-automatic"><Icon name="robot" className="inline" />Automatic message</p>
                <p className="message-text">{draft.text}</p>
                <p className="message-foot">{clockTime(Date.now())}</p>
              </div>
            </div>
          ) : <p className="hint centred">No answer until you write one.</p>}
        </div>
        <p className="hint">It is marked as automatic, answers whoever wrote and nobody else in a group, and never answers another automatic message.</p>
      </section>
    </div>
  );
}

function Log() {
  const { data, error, isPending, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery({
    queryKey: logKey,
    queryFn: ({ pageParam }) => fetchLog(pageParam),
    initialPageParam: undefined as number | undefined,
    getNextPageParam: (last) => (last.next ? Number(last.next) : undefined),
    refetchInterval: 4_000,
  });
  const entries = data?.pages.flatMap((page) => page.items) ?? [];
  const name = usePeople([...new Set(entries.flatMap((entry) => (entry.replies ?? []).map((reply) => reply.to)))]);
  return (
    <section className="card stack" aria-labelledby="made">
      <h2 id="made">Made and not made</h2>
      {isPending && <Loading />}
      {error && !data && <Trouble error={error} retry={() => void refetch()} />}
      {data && entries.length === 0 && <Empty icon="reply" title="Nothing yet">Here you will see who was answered, and who was not and why.</Empty>}
      {entries.length > 0 && <ul className="log-list">{entries.map((entry) => <Row key={entry.id} entry={entry} name={name} />)}</ul>}
      {hasNextPage && <div className="line"><Button kind="quiet" busy={isFetchingNextPage} onClick={() => void fetchNextPage()}>Older</Button></div>}
    </section>
  );
}

function Row({ entry, name }: { entry: LogEntry; name: (id: number) => string }) {
  const reply = entry.replies?.[0];
  return (
    <li className="log-row">
      <Chip kind={entry.verdict === 'answered' ? 'good' : 'neutral'}>{entry.verdict === 'answered' ? 'Answered' : entry.verdict === 'not_answered' ? 'Not answered' : 'Left out'}</Chip>
      <span className="grow">{reply ? <>to <strong>{name(reply.to)}</strong>: {reply.message}</> : entry.detail ?? entry.reason}</span>
      <time className="hint" dateTime={entry.at} title={fullTime(entry.at)}>{ago(entry.at)}</time>
    </li>
  );
}
