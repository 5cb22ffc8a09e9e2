/**
 * What instances take from each node, as running sums: a placement asks for every node's sum, and must not cost more for
 * each machine that the fleet has.
 */
import { NO_LOAD, plus, sharesOf } from "../../lib/preflight/load.ts";
import type { Load, Share } from "../../lib/preflight/load.ts";
import type { Cache } from "../cache.ts";
import { keyOf } from "../objects.ts";
import type { Instance } from "../objects.ts";

export class FleetLoad {
  readonly #nodes = new Map<string, Load>();
  readonly #shares = new Map<string, readonly Share[]>();

  /** Follows the cache from its first object on. */
  constructor(instances: Pick<Cache<Instance>, "onChange">) {
    instances.onChange(({ key, after }) => this.#replace(key, after ? sharesOf(after) : []));
  }

  on(node: string): Load {
    return this.#nodes.get(node) ?? NO_LOAD;
  }

  /** As if the instance were not there: it does not stand in its own way. */
  onWithout(node: string, instance: Instance): Load {
    const own = this.#shares.get(keyOf(instance))?.find((share) => share.node === node);
    return own ? plus(this.on(node), own, -1) : this.on(node);
  }

  #replace(key: string, shares: readonly Share[]): void {
    for (const share of this.#shares.get(key) ?? []) this.#nodes.set(share.node, plus(this.on(share.node), share, -1));
    for (const share of shares) this.#nodes.set(share.node, plus(this.on(share.node), share));
    if (shares.length > 0) this.#shares.set(key, shares);
    else this.#shares.delete(key);
  }
}
