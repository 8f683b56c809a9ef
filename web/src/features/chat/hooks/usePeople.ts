/** Names for ids. */

import { useQueries } from '@tanstack/react-query';

import { fetchPerson, personKey } from '../api/people.ts';

/** The name of each of these users; what is not known yet is a dash. */
export function usePeople(ids: readonly number[]): (id: number) => string {
  return useQueries({
    queries: ids.map((id) => ({ queryKey: personKey(id), queryFn: () => fetchPerson(id), staleTime: Infinity, gcTime: Infinity })),
    combine: (results) => {
      const names = new Map(ids.map((id, n) => [id, results[n]?.data?.username]));
      return (id: number) => names.get(id) ?? '–';
    },
  });
}
