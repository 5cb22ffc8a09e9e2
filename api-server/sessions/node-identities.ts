/**
 * Which certificates of nodes count, by the nodes' records: kept in memory by a watch, so that no call waits for the disk,
 * and held against the store now and then and whenever a session opens.
 */
import type { Node } from "../../gen/drover/v1/node.ts";
import { backoffMs, RECONNECT } from "../../lib/backoff.ts";
import { delay, every } from "../../lib/clock.ts";
import type { Clock } from "../../lib/clock.ts";
import { Unauthenticated } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import type { Random } from "../../lib/random.ts";
import { metaOf } from "../kinds/kind.ts";
import { nodes } from "../kinds/node.ts";
import { everyOf } from "../objects.ts";
import type { Objects } from "../objects.ts";

/** As in a certificate. */
export type NodeCertificateIdentity = { uid: string; incarnation: number };

type Standing = { name: string; incarnation: number; revoked: boolean };

export type NodeIdentitiesParts = {
  objects: Objects;
  clock: Clock;
  random: Random;
  log: Logger;
  /** The identities of the node before this incarnation have ended; undefined: all of them have. */
  ended: (name: string, incarnation: number | undefined) => void;
};

const COMPARE_EVERY_MS = 30_000;

export class NodeIdentities {
  readonly #parts: NodeIdentitiesParts;
  #byUid = new Map<string, Standing>();

  constructor(parts: NodeIdentitiesParts) {
    this.#parts = parts;
  }

  /** Everything that stands, before the first agent is served. */
  start(): Promise<void> {
    return this.#compare();
  }

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#parts;
    const onError = (error: unknown) => log.warn({ error }, "cannot compare the nodes' identities with the store");
    await Promise.all([this.#follow(signal), every(clock, COMPARE_EVERY_MS, { run: () => this.#compare(), signal, onError })]);
  }

  /** The node that a certificate is of. Throws Unauthenticated when it is of none that stands. */
  nodeOf({ uid, incarnation }: NodeCertificateIdentity): string {
    const standing = this.#byUid.get(uid);
    if (standing === undefined || standing.revoked || standing.incarnation !== incarnation) throw notStanding();
    return standing.name;
  }

  /** Takes in a record that was just written or read, ahead of the watch. */
  learn(node: Node): void {
    const { uid, name } = metaOf(node);
    const { incarnation = 0, revoked = false } = node.status?.identity ?? {};
    const before = this.#byUid.get(uid);
    // The watch may still bring what came before.
    if (before && before.incarnation > incarnation) return;
    this.#byUid.set(uid, { name, incarnation, revoked });
    if (before && (before.incarnation < incarnation || (revoked && !before.revoked))) this.#parts.ended(name, revoked ? undefined : incarnation);
  }

  #forget(uid: string): void {
    const standing = this.#byUid.get(uid);
    this.#byUid.delete(uid);
    if (standing) this.#parts.ended(standing.name, undefined);
  }

  async #compare(): Promise<void> {
    const before = new Set(this.#byUid.keys());
    const seen = new Set<string>();
    for await (const node of everyOf(this.#parts.objects, nodes)) {
      seen.add(metaOf(node).uid);
      this.learn(node);
    }
    // A node that came while the pages were read is in none of them.
    for (const uid of before) if (!seen.has(uid)) this.#forget(uid);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { objects, clock, random, log } = this.#parts;
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      try {
        for await (const event of objects.watch(nodes, { signal })) {
          if (event.type === "bookmark") attempt = 0;
          else if (event.type === "deleted") this.#forget(metaOf(event.object).uid);
          else this.learn(event.object);
        }
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ error }, "the watch on the nodes' identities broke");
      }
      await delay(clock, backoffMs(RECONNECT, attempt + 1, random.fraction()), signal).catch(() => undefined);
    }
  }
}

export const notStanding = () =>
  new Unauthenticated("The certificate is of no node that stands: it was revoked, replaced or never enrolled here", { reason: "NODE_REVOKED" });
