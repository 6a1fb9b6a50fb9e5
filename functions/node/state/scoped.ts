import { checkKey, type ListOptions, type State, type StateEntry } from "./state.ts";

/** The part of a state under `scope`, seen as a whole state: keys elsewhere can be neither read nor written. Keys may be as long as a state's less the scope. */
export function scopedState(state: State, scope: string): State {
  const inside = (key: string): string => {
    checkKey(key);
    return scope + key;
  };
  const strip = (key: string): string => key.slice(scope.length);
  const outside = (entry: StateEntry): StateEntry => ({ ...entry, key: strip(entry.key) });

  return {
    async get(key) {
      const entry = await state.get(inside(key));
      return entry && outside(entry);
    },
    put: async (key, value, options) => await state.put(inside(key), value, options),
    cas: async (key, expected, value, options) => await state.cas(inside(key), expected, value, options),
    append: async (log, value, options) => strip(await state.append(inside(log), value, options)),
    appendAll: async (log, values, options) => await state.appendAll(inside(log), values, options),
    async list(prefix, options: ListOptions = {}) {
      const after = options.after === undefined ? {} : { after: scope + options.after };
      const page = await state.list(scope + prefix, { ...options, ...after });
      const entries = page.entries.map(outside);
      return page.next === undefined ? { entries } : { entries, next: strip(page.next) };
    },
  };
}
