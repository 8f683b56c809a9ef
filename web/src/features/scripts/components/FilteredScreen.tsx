/** What one's own script kept out of the inbox, and the way back. */

import { useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query';
import { Link } from 'wouter';

import { Avatar } from '@/components/Avatar.tsx';
import { Button } from '@/components/Button.tsx';
import { Chip, Empty, Loading, Note, Trouble } from '@/components/States.tsx';
import { MessageText } from '@/features/chat/components/MessageText.tsx';
import { usePeople } from '@/features/chat/hooks/usePeople.ts';
import { words } from '@/lib/api.ts';
import { ago, fullTime } from '@/lib/format.ts';

import { fetchFiltered, filteredKey, restore, type Filtered } from '../api/filtered.ts';

export default function FilteredScreen() {
  const { data, error, isPending, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery({
    queryKey: filteredKey,
    queryFn: ({ pageParam }) => fetchFiltered(pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next ?? undefined,
    refetchInterval: 5_000,
  });
  const items = data?.pages.flatMap((page) => page.items) ?? [];
  const name = usePeople([...new Set(items.map((item) => item.senderId))]);
  return (
    <main className="page">
      <div className="page-inner narrow">
        <header className="page-head">
          <div>
            <h1>Filtered</h1>
            <p>What your incoming script kept from you. Nobody was told. Restoring puts a message into its conversation, as the newest.</p>
          </div>
        </header>
        {isPending && <Loading />}
        {error && !data && <Trouble error={error} retry={() => void refetch()} />}
        {data && items.length === 0 && (
          <Empty icon="filter" title="Nothing was filtered">An <Link href="/scripts/incoming">incoming script</Link> that drops a message puts it here.</Empty>
        )}
        {items.length > 0 && <ul className="card">{items.map((item) => <Row key={item.messageUid} item={item} name={name(item.senderId)} />)}</ul>}
        {hasNextPage && <div><Button busy={isFetchingNextPage} onClick={() => void fetchNextPage()}>Older</Button></div>}
      </div>
    </main>
  );
}

function Row({ item, name }: { item: Filtered; name: string }) {
  const client = useQueryClient();
  const back = useMutation({ mutationFn: () => restore(item.messageUid), onSuccess: () => client.invalidateQueries({ queryKey: filteredKey }) });
  return (
    <li className="filtered-row">
      <Avatar name={name} id={item.senderId} />
      <div className="grow">
        <p className="line">
          <strong>{name}</strong>
          {item.recipientIds.length > 1 && <Chip>group</Chip>}
          {item.fromAutoReply && <Chip>automatic</Chip>}
          <time className="hint" dateTime={item.sentAt} title={fullTime(item.sentAt)}>{ago(item.sentAt)}</time>
        </p>
        <p className="message-text" dir="auto"><MessageText text={item.messageBody} /></p>
        {back.error && <Note kind="bad">{words(back.error)}</Note>}
      </div>
      <Button icon="restore" busy={back.isPending || back.isSuccess} aria-label={`Restore the message of ${name}`} onClick={() => back.mutate()}>Restore</Button>
    </li>
  );
}
