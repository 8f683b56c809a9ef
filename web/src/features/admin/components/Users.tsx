/** Who there is, and what they may do. */

import { useInfiniteQuery, useMutation, useQueryClient, keepPreviousData } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'wouter';

import { Button } from '@/components/Button.tsx';
import { Dialog } from '@/components/Dialog.tsx';
import { Field } from '@/components/Field.tsx';
import { Chip, Loading, Note, Trouble } from '@/components/States.tsx';
import { words } from '@/lib/api.ts';
import { fullTime, shortTime } from '@/lib/format.ts';

import { fetchUsers, setDisabled, setPassword, setRole, usersKey, type AdminUser } from '../api/admin.ts';

export function Users() {
  const [search, setSearch] = useState('');
  const [resetting, setResetting] = useState<AdminUser>();
  const { data, error, isPending, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery({
    queryKey: [...usersKey, search],
    queryFn: ({ pageParam }) => fetchUsers(search, pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next ?? undefined,
    placeholderData: keepPreviousData,
  });
  const users = data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <section className="stack" aria-label="Users">
      <Field label="Find a user" type="search" value={search} placeholder="How the name begins" autoComplete="off" onChange={(event) => setSearch(event.target.value)} />
      {isPending && <Loading />}
      {error && !data && <Trouble error={error} retry={() => void refetch()} />}
      {data && (
        <div className="table-frame" tabIndex={0} role="region" aria-label="Table of users">
          <table className="table">
            <thead><tr><th scope="col">Name</th><th scope="col" className="only-wide">Id</th><th scope="col" className="only-wide">Since</th><th scope="col">State</th><th scope="col"><span className="for-readers">What can be done</span></th></tr></thead>
            <tbody>{users.map((user) => <Row key={user.id} user={user} onReset={() => setResetting(user)} />)}</tbody>
          </table>
          {users.length === 0 && <p className="hint centred">Nobody&apos;s name begins so.</p>}
        </div>
      )}
      {hasNextPage && <div><Button busy={isFetchingNextPage} onClick={() => void fetchNextPage()}>More</Button></div>}
      {resetting && <Reset user={resetting} onClose={() => setResetting(undefined)} />}
    </section>
  );
}

function Row({ user, onReset }: { user: AdminUser; onReset: () => void }) {
  const client = useQueryClient();
  const change = useMutation({
    mutationFn: (what: 'disable' | 'enable' | 'promote' | 'demote'): Promise<unknown> =>
      what === 'promote' || what === 'demote' ? setRole(user.id, what === 'promote' ? 'admin' : 'user') : setDisabled(user.id, what === 'disable'),
    onSettled: () => client.invalidateQueries({ queryKey: usersKey }),
  });
  return (
    <tr>
      <td><strong>{user.username}</strong>{change.error && <p className="field-error" role="alert">{words(change.error)}</p>}</td>
      <td className="only-wide">{user.id}</td>
      <td className="only-wide"><time dateTime={user.createdAt} title={fullTime(user.createdAt)}>{shortTime(user.createdAt)}</time></td>
      <td>
        {user.role === 'admin' && <Chip kind="accent">Administrator</Chip>}{' '}
        {user.disabled && <Chip kind="bad">Disabled</Chip>}{user.role !== 'admin' && !user.disabled && <Chip>User</Chip>}
      </td>
      <td>
        <div className="actions">
          <Link className="button plain" href={`/admin/users/${user.id}/scripts/incoming`} aria-label={`Scripts of ${user.username}`}>Scripts</Link>
          <Button aria-label={`Reset the password of ${user.username}`} onClick={onReset}>Reset</Button>
          <Button busy={change.isPending} aria-label={`${user.role === 'admin' ? 'Demote' : 'Promote'} ${user.username}`} onClick={() => change.mutate(user.role === 'admin' ? 'demote' : 'promote')}>
            {user.role === 'admin' ? 'Demote' : 'Promote'}
          </Button>
          <Button kind={user.disabled ? 'plain' : 'danger'} busy={change.isPending} aria-label={`${user.disabled ? 'Enable' : 'Disable'} ${user.username}`}
            onClick={() => change.mutate(user.disabled ? 'enable' : 'disable')}>{user.disabled ? 'Enable' : 'Disable'}</Button>
        </div>
      </td>
    </tr>
  );
}

function Reset({ user, onClose }: { user: AdminUser; onClose: () => void }) {
  const [password, choose] = useState('');
  const run = useMutation({ mutationFn: () => setPassword(user.id, password) });
  return (
    <Dialog title={`A new password for ${user.username}`} onClose={onClose}>
      <form onSubmit={(event) => { event.preventDefault(); run.mutate(); }}>
        <div className="dialog-body">
          {run.isSuccess ? <Note kind="good">It is set. {user.username} is signed out everywhere; tell them the new password in a safe way.</Note> : (
            <Field label="New password" type="password" autoComplete="new-password" required minLength={8} data-first value={password} onChange={(event) => choose(event.target.value)}
              hint="Eight characters or more. Every login of theirs ends." error={run.error ? words(run.error) : undefined} />
          )}
        </div>
        <footer className="dialog-foot">
          <Button onClick={onClose}>{run.isSuccess ? 'Done' : 'Cancel'}</Button>
          {!run.isSuccess && <Button kind="primary" type="submit" busy={run.isPending}>Set it</Button>}
        </footer>
      </form>
    </Dialog>
  );
}
