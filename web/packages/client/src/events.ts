/** Who wants to hear of what. A listener that throws does not keep the others from hearing. */

export type Listener<T> = (value: T) => void;

export class Events<Map extends object> {
  #listeners = new Map<keyof Map, Set<Listener<never>>>();

  /** Listens until the function that is returned is called. */
  on<K extends keyof Map>(name: K, listener: Listener<Map[K]>): () => void {
    const set = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, set);
    set.add(listener as Listener<never>);
    return () => set.delete(listener as Listener<never>);
  }

  emit<K extends keyof Map>(name: K, value: Map[K]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])] as Listener<Map[K]>[]) {
      try {
        listener(value);
      } catch (error) {
        // Told where programs look for such things, and nobody else's business.
        if (typeof reportError === 'function') reportError(error);
        else console.error(error);
      }
    }
  }
}
