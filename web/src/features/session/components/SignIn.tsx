/** The door: sign in, or make an account. */

import { useState, type FormEvent } from 'react';

import { Button } from '@/components/Button.tsx';
import { Field } from '@/components/Field.tsx';
import { Mark } from '@/components/Mark.tsx';
import { Note } from '@/components/States.tsx';
import { ProblemError, words } from '@/lib/api.ts';

import { register, signIn } from '../api/account.ts';

export function SignIn({ why }: { why?: string }) {
  const [joining, setJoining] = useState(false);
  const [username, setUsername] = useState('');
  const [password, setPassword] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const problem = error instanceof ProblemError ? error.problem : undefined;
  const of = (field: string) => (problem?.field === field ? words(error) : undefined);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setError(undefined);
    const enter = joining ? register : signIn;
    enter({ username: username.trim(), password }).catch(setError).finally(() => setBusy(false));
  };
  const swap = () => {
    setJoining(!joining);
    setError(undefined);
  };
  return (
    <main className="cover">
      <div className="door">
        <div className="door-brand">
          <Mark size={44} />
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
          {error !== undefined && !of('username') && !of('password') && <Note kind="bad">{words(error)}</Note>}
          <Button kind="primary" type="submit" busy={busy}>{joining ? 'Create account' : 'Sign in'}</Button>
        </form>
        <p className="door-swap">
          {joining ? 'You have an account?' : 'New here?'}{' '}
          <button type="button" className="link" onClick={swap}>{joining ? 'Sign in' : 'Create an account'}</button>
        </p>
      </div>
    </main>
  );
}
