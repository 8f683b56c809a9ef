/** The door: sign in, or make an account. */

import { useMutation } from '@tanstack/react-query';
import { useState, type FormEvent } from 'react';

import { Button } from '@/components/Button.tsx';
import { Field } from '@/components/Field.tsx';
import { Note } from '@/components/States.tsx';
import { ProblemError, words } from '@/lib/api.ts';

import { register, signIn } from '../api/account.ts';

export function SignIn({ why }: { why?: string }) {
  const [joining, setJoining] = useState(false);
  const [username, setUsername] = useState('');
  const [password, setPassword] = useState('');
  const enter = useMutation({ mutationFn: joining ? register : signIn });
  const problem = enter.error instanceof ProblemError ? enter.error.problem : undefined;
  const of = (field: string) => (problem?.field === field ? words(enter.error) : undefined);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    enter.mutate({ username: username.trim(), password });
  };
  const swap = () => {
    setJoining(!joining);
    enter.reset();
  };
  return (
    <main className="cover">
      <div className="door">
        <div className="door-brand">
          <img src="/icon.svg" alt="" width="44" height="44" />
          <h1>Parlor</h1>
          <p>Chat whose messages you can program.</p>
        </div>
        <form onSubmit={submit} aria-label={joining ? 'Create an account' : 'Sign in'}>
          {why && <Note kind="warn">{why}</Note>}
          <Field label="Name" name="username" autoComplete="username" autoCapitalize="none" spellCheck={false} autoFocus required
            maxLength={64} value={username} onChange={(event) => setUsername(event.target.value)} error={of('username')}
            hint={joining ? 'Letters, digits, dot, dash and underscore. Others find you by it.' : undefined} />
          <Field label="Password" name="password" type="password" required minLength={joining ? 8 : undefined}
            autoComplete={joining ? 'new-password' : 'current-password'} value={password}
            onChange={(event) => setPassword(event.target.value)} error={of('password')}
            hint={joining ? 'Eight characters or more.' : undefined} />
          {enter.error && !of('username') && !of('password') && <Note kind="bad">{words(enter.error)}</Note>}
          <Button kind="primary" type="submit" busy={enter.isPending}>{joining ? 'Create account' : 'Sign in'}</Button>
        </form>
        <p className="door-swap">
          {joining ? 'You have an account?' : 'New here?'}{' '}
          <button type="button" className="link" onClick={swap}>{joining ? 'Sign in' : 'Create an account'}</button>
        </p>
      </div>
    </main>
  );
}
