/** Names of users: asked for in handfuls, remembered for as long as the page lives. */

import { queryClient } from '@/lib/query.ts';
import { answered, api, type Schemas } from '@/lib/api.ts';

export type Person = Schemas['PublicUser'];

/** The most ids that one request may name. */
const MOST = 100;

let waiting = new Map<number, ((person: Person) => void)[]>();

/** A user by id. Everything asked for in one go is one request. */
export function fetchPerson(id: number): Promise<Person> {
  return new Promise((resolve) => {
    if (waiting.size === 0) setTimeout(() => void ask(), 0);
    waiting.set(id, [...(waiting.get(id) ?? []), resolve]);
  });
}

async function ask(): Promise<void> {
  const asked = waiting;
  waiting = new Map();
  const ids = [...asked.keys()];
  for (let from = 0; from < ids.length; from += MOST) {
    const some = ids.slice(from, from + MOST);
    const found = await answered(api.GET('/api/v1/users', { params: { query: { ids: some.join(',') } as never } })).catch(() => undefined);
    for (const id of some) {
      const person = found?.items.find((user) => user.id === id) ?? { id, username: `user ${id}` };
      asked.get(id)?.forEach((resolve) => resolve(person));
      // A name that could not be had is asked for again.
      if (!found) setTimeout(() => void queryClient.invalidateQueries({ queryKey: personKey(id) }), 3_000);
    }
  }
}

export const personKey = (id: number) => ['person', id] as const;

export async function searchPeople(search: string, signal?: AbortSignal): Promise<Person[]> {
  const found = await answered(api.GET('/api/v1/users', { params: { query: { search, limit: 20 } as never }, signal }));
  for (const person of found.items) queryClient.setQueryData(personKey(person.id), person);
  return found.items;
}
