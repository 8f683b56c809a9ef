/** What the server knows, as the page knows it. */

import { notifyManager, QueryClient } from '@tanstack/react-query';

import { ProblemError } from './api.ts';

/** Worth another attempt: the server could not be reached, or said "not now". */
function passing(error: unknown): boolean {
  return error instanceof ProblemError && (error.problem.code === 'network' || error.problem.status === 503);
}

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 30_000,
      refetchOnWindowFocus: false,
      // The page says itself what is wrong: a query is not put off because the machine says that it has no network.
      networkMode: 'always',
      retry: (count, error) => passing(error) && count < 6,
      retryDelay: (count) => Math.min(500 * 2 ** count, 8_000),
    },
    mutations: { networkMode: 'always' },
  },
});

// What changes together is drawn together: a message that arrives takes the place of the one that was on its way.
notifyManager.setScheduler(queueMicrotask);
