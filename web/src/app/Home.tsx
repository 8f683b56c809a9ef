/** The page of somebody who is signed in: the live connection around it, the screens in it. */

import { QueryClientProvider } from '@tanstack/react-query';
import { lazy, Suspense, type ReactNode } from 'react';
import { Redirect, Route, Switch, useLocation } from 'wouter';

import type { User } from '@parlor/client';

import { Boundary } from '@/components/Boundary.tsx';
import { Loading } from '@/components/States.tsx';
import { LiveProvider } from '@/features/chat/hooks/useLive.tsx';
import { ChatScreen } from '@/features/chat/components/ChatScreen.tsx';
import { queryClient } from '@/lib/query.ts';

import { Shell } from './Shell.tsx';

const AutoReplyScreen = lazy(() => import('@/features/auto-reply/components/AutoReplyScreen.tsx'));
const WorkshopScreen = lazy(() => import('@/features/scripts/components/WorkshopScreen.tsx'));
const FilteredScreen = lazy(() => import('@/features/scripts/components/FilteredScreen.tsx'));
const AdminScreen = lazy(() => import('@/features/admin/components/AdminScreen.tsx'));
const SettingsScreen = lazy(() => import('@/features/settings/components/SettingsScreen.tsx'));

export default function Home({ user }: { user: User }) {
  const [path] = useLocation();
  return (
    <QueryClientProvider client={queryClient}><LiveProvider user={user}>
      <Shell user={user}>
        <Boundary place={path}><Suspense fallback={<main className="page"><Loading /></main>}>
          <Switch>
            <Route path="/"><ChatScreen /></Route>
            <Route path="/c/new/:people">{({ people }) => <ChatScreen people={people} />}</Route>
            <Route path="/c/:id">{({ id }) => <ChatScreen conversationId={id} />}</Route>
            <Route path="/auto-reply"><AutoReplyScreen /></Route>
            <Route path="/filtered"><FilteredScreen /></Route>
            <Route path="/scripts"><Redirect to="/scripts/incoming" replace /></Route>
            <Route path="/scripts/:direction">{({ direction }) => <WorkshopScreen direction={direction} owner="me" />}</Route>
            <Route path="/settings"><SettingsScreen user={user} /></Route>
            <AdminOnly user={user}>
              <Switch>
                <Route path="/admin/users/:id/scripts/:direction">
                  {({ id, direction }) => <WorkshopScreen direction={direction} owner={id} />}
                </Route>
                <Route path="/admin/:part?">{({ part }) => <AdminScreen part={part} />}</Route>
                <Route><Redirect to="/" replace /></Route>
              </Switch>
            </AdminOnly>
          </Switch>
        </Suspense></Boundary>
      </Shell>
    </LiveProvider></QueryClientProvider>
  );
}

function AdminOnly({ user, children }: { user: User; children: ReactNode }) {
  return user.role === 'admin' ? children : <Redirect to="/" replace />;
}
