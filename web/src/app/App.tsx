/** Who is signed in decides what is shown. */

import { QueryClientProvider } from '@tanstack/react-query';

import { Loading } from '@/components/States.tsx';
import { SignIn } from '@/features/session/components/SignIn.tsx';
import { useSession } from '@/features/session/hooks/useSession.ts';
import { queryClient } from '@/lib/query.ts';

import { Home } from './Home.tsx';

export function App() {
  const state = useSession();
  return (
    <QueryClientProvider client={queryClient}>
      {state.name === 'loading' && <main className="cover"><Loading label="Opening" /></main>}
      {state.name === 'out' && <SignIn why={state.why} />}
      {state.name === 'in' && <Home key={`${state.user.id} ${state.user.role}`} user={state.user} />}
    </QueryClientProvider>
  );
}
