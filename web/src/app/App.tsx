/** Who is signed in decides what is shown: the door, or all that is behind it. */

import { lazy, Suspense, useEffect } from 'react';

import { Boundary } from '@/components/Boundary.tsx';
import { Loading } from '@/components/States.tsx';
import { SignIn } from '@/features/session/components/SignIn.tsx';
import { useSession } from '@/features/session/hooks/useSession.ts';
import { afterwards } from '@/lib/afterwards.ts';

const home = () => import('./Home.tsx');
const Home = lazy(home);

export function App() {
  const state = useSession();
  // Somebody who types a password finds the room behind the door ready.
  useEffect(() => afterwards(() => void home().catch(() => undefined)), []);
  if (state.name === 'out') return <SignIn why={state.why} />;
  return (
    <Boundary place="home">
      <Suspense fallback={<main className="cover"><Loading label="Opening" /></main>}>
        <Home key={`${state.user.id} ${state.user.role}`} user={state.user} />
      </Suspense>
    </Boundary>
  );
}
