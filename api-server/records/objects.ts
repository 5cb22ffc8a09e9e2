/**
 * Objects over a Store: every mutation of every kind goes through here, so that idempotency, defaults, validation,
 * versions, generations, secrets and finalizers are decided once.
 */
import { ObjectMeta } from "../../gen/drover/v1/meta.ts";
import type { Clock } from "../../lib/clock.ts";
import { Aborted, AlreadyExists, FailedPrecondition, type Fault, InvalidArgument, NotFound } from "../../lib/errors.ts";
import type { Random } from "../../lib/random.ts";
import { type Key, keyOf, type Kind, metaOf, type Resource, storeKey } from "../kinds/kind.ts";
import { namespaces } from "../kinds/namespace.ts";
import { sameMessage } from "../../lib/same.ts";
import type { Call, Caller, Expected, ListOptions, ListPage, Objects, Reads, WatchEvent, WatchOptions } from "../objects.ts";
import { Conflict, type Journal, RequestReplayed, type Store, type Stored, type Write } from "../store/store.ts";
import type { FieldRules } from "../validate/field-rules.ts";
import type { Schema } from "../validate/schema.ts";
import { Backlogs } from "./backlog.ts";
import { Decoded, encodeObject } from "./codec.ts";
import { adoptSecrets } from "./adoption.ts";
import { Identifiers } from "./identifiers.ts";
import { checkLineage } from "./lineage.ts";
import { StoreReads } from "./reads.ts";
import { answerOf } from "./replay.ts";
import { hideSecrets, keepSecrets, secretsOf } from "./secrets.ts";
import type { Vault } from "./vault.ts";

/** Each loser of a race has a winner, so that a change that loses this often meets a crowd that nothing should wait for. */
const ATTEMPTS_MAX = 30;

export type ObjectsOptions = {
  store: Store;
  schema: Schema;
  rules: FieldRules;
  clock: Clock;
  random: Random;
  /** Ends every watch. */
  stopping: AbortSignal;
  watchBacklogBytesMax?: number | undefined;
  /** Without one secrets are not closed on the disk: for a store that has none. */
  vault?: Vault | undefined;
};

/** What stood, and what is to stand in its place. */
type Changed<T> = { stored: Stored; current: T; next: T };

export class StoreObjects implements Objects {
  readonly revealed: Reads;
  readonly identifiers: Identifiers;
  readonly #hidden: Reads;
  readonly #options: ObjectsOptions;
  readonly #decoded: Decoded;

  constructor(options: ObjectsOptions) {
    this.#decoded = new Decoded(undefined, options.vault);
    const shared = { ...options, decoded: this.#decoded, backlogs: new Backlogs(options.store) };
    this.#options = options;
    this.identifiers = new Identifiers(options.store);
    this.#hidden = new StoreReads({ ...shared, revealed: false });
    this.revealed = new StoreReads({ ...shared, revealed: true });
  }

  get<T extends Resource>(kind: Kind<T>, key: Key): Promise<T> {
    return this.#hidden.get(kind, key);
  }

  find<T extends Resource>(kind: Kind<T>, key: Key): Promise<T | undefined> {
    return this.#hidden.find(kind, key);
  }

  list<T extends Resource>(kind: Kind<T>, options?: ListOptions): Promise<ListPage<T>> {
    return this.#hidden.list(kind, options);
  }

  watch<T extends Resource>(kind: Kind<T>, options: WatchOptions): AsyncIterable<WatchEvent<T>> {
    return this.#hidden.watch(kind, options);
  }

  async create<T extends Resource>(kind: Kind<T>, object: T, call: Call): Promise<T> {
    const done = await this.replayed(kind, call);
    if (done) return done;
    const born = await this.#born(kind, object, call);
    await this.#checkNamespace(kind, born);
    const bytes = encodeObject(kind, born, this.#options.vault);
    const key = storeKey(kind, keyOf(born));
    if ((call.validateOnly || kind.origin || kind.identifiers) && (await this.#options.store.get(key))) return this.#taken(kind, key, call);
    await checkLineage(this, kind, born);
    if (call.validateOnly) {
      await this.identifiers.check(kind, born);
      return hideSecrets(kind, born);
    }
    try {
      const audit = call.trail?.change(kind, metaOf(born), "");
      const record = () => this.#commit({ key, expected: null, value: bytes, ...(audit && { audit }) }, call);
      return this.#answer(kind, await this.identifiers.during({ kind, after: born }, record));
    } catch (error) {
      if (error instanceof Conflict) throw new AlreadyExists(`"${key}" exists already`);
      return this.#replay(kind, error, call);
    }
  }

  async change<T extends Resource>(kind: Kind<T>, key: Key, change: (current: T) => T | undefined, call: Call & Expected): Promise<T> {
    const done = await this.replayed(kind, call);
    if (done) return done;
    for (let attempt = 1; ; attempt += 1) {
      const { stored, current } = await this.#read(kind, key, call);
      const next = this.#changed(kind, current, { asked: change(current), call });
      if (next === undefined && !call.repeatable) return hideSecrets(kind, current);
      try {
        return await this.#record(kind, { stored, current, next: next ?? current }, call);
      } catch (error) {
        if (!(error instanceof Conflict)) return this.#replay(kind, error, call);
        if (call.expected) throw stale(stored.key);
        if (attempt === ATTEMPTS_MAX) throw new Aborted(`Cannot change "${stored.key}": too many others change it`, { reason: "CONTENTION" });
      }
    }
  }

  remove<T extends Resource>(kind: Kind<T>, key: Key, call: Call & Expected & { gracePeriodSeconds?: number }): Promise<T> {
    const now = this.#options.clock.now();
    return this.change(kind, key, (current) => deleting(kind, current, { now, asked: call.gracePeriodSeconds }), call);
  }

  async replayed<T extends Resource>(kind: Kind<T>, call: Call): Promise<T | undefined> {
    if (!call.repeatable) return undefined;
    const entry = await this.#options.store.request(journalId(call));
    return entry && answerOf(this.#options.store, { kind, entry, call });
  }

  async #born<T extends Resource>(kind: Kind<T>, object: T, call: Call): Promise<T> {
    const { clock, random } = this.#options;
    const uid = random.uuid();
    const now = clock.now();
    const trusted = isTrusted(call.caller);
    const sent = trusted ? object : kind.withoutStatus(object);
    const metadata = newMeta(kind, sent, { uid, now, trusted });
    const secrets = trusted ? await adoptSecrets(this.revealed, kind, { ...sent, metadata }) : new Map();
    const own = keepSecrets(kind, { ...sent, metadata }, secrets);
    const complete = kind.defaults(own, { uid, random });
    this.#check(kind, complete, call.faults ?? []);
    return kind.born ? kind.born(complete, { uid, now, requestId: call.requestId }) : complete;
  }

  /** The whole of what a change makes of an object, or undefined when there is nothing to record. */
  #changed<T extends Resource>(kind: Kind<T>, current: T, { asked, call }: { asked: T | undefined; call: Call }): T | undefined {
    if (asked === undefined) {
      if (call.faults?.length) throw new InvalidArgument(call.faults);
      return undefined;
    }
    const { random, clock } = this.#options;
    if (sameWish(current, asked)) return asked;
    const own = keepSecrets(kind, asked, secretsOf(kind, current));
    const next = kind.defaults(own, { uid: metaOf(current).uid, random, before: current });
    const faults = [...(call.faults ?? []), ...rooted(kind, kind.validateChange(current, next))];
    this.#check(kind, next, faults);
    if (sameMessage(specOf(current), specOf(next))) return next;
    const metadata = { ...metaOf(next), generation: metaOf(current).generation + 1 };
    const bumped = { ...next, metadata };
    return kind.changed ? kind.changed(current, bumped, { now: clock.now(), requestId: call.requestId }) : bumped;
  }

  #check<T extends Resource>(kind: Kind<T>, object: T, others: Fault[]): void {
    const bytes = kind.codec.encode(object).finish();
    const faults = [...others, ...rooted(kind, [...this.#options.rules.check(kind.typeName, bytes), ...kind.validate(object)])];
    if (faults.length > 0) throw new InvalidArgument(faults);
  }

  async #read<T extends Resource>(kind: Kind<T>, key: Key, { expected, uid }: Expected): Promise<{ stored: Stored; current: T }> {
    const at = storeKey(kind, key);
    const stored = await this.#options.store.get(at);
    if (stored === undefined) throw new NotFound(at);
    if (expected && stored.revision !== expected) throw stale(at);
    const current = this.#decoded.of(kind).read(stored.value, stored.revision, true);
    if (uid && metaOf(current).uid !== uid) {
      throw new Aborted(`"${at}" is another object now: its uid is not ${uid}`, { reason: "UID_MISMATCH" });
    }
    return { stored, current };
  }

  async #record<T extends Resource>(kind: Kind<T>, { stored, current, next }: Changed<T>, call: Call): Promise<T> {
    const gone = isGone(metaOf(next));
    const value = gone ? null : encodeObject(kind, next, this.#options.vault);
    if (call.validateOnly) {
      await this.identifiers.check(kind, next);
      return hideSecrets(kind, { ...next, metadata: { ...metaOf(next), resourceVersion: stored.revision } });
    }
    const makesRoom = metaOf(next).deletionTimestamp !== undefined;
    const audit = call.trail?.change(kind, metaOf(current), stored.revision);
    const record = () => this.#commit({ key: stored.key, expected: stored.revision, value, makesRoom, ...(audit && { audit }) }, call);
    const committed = await this.identifiers.during({ kind, before: current, after: gone ? undefined : next }, record);
    return gone ? hideSecrets(kind, { ...next, metadata: { ...metaOf(next), resourceVersion: committed.revision } }) : this.#answer(kind, committed);
  }

  async #commit(write: Omit<Write, "journal">, call: Call): Promise<Stored> {
    const journal = this.#journalOf(write, call);
    const stored = await this.#options.store.commit(journal ? { ...write, journal } : write);
    if (write.audit) call.trail?.recorded();
    return stored;
  }

  #journalOf({ key, expected }: Omit<Write, "journal">, call: Call): Journal | undefined {
    if (call.requestId === "") return undefined;
    const { bodyHash, rpc, caller } = call;
    const atMs = this.#options.clock.now().getTime();
    return { requestId: journalId(call), bodyHash, rpc, subject: caller.subject, key, before: expected ?? "", atMs };
  }

  /** A repeat that overtook its first sending is answered as any other; other errors go on. */
  #replay<T extends Resource>(kind: Kind<T>, error: unknown, call: Call): Promise<T> {
    if (!(error instanceof RequestReplayed)) throw error;
    return answerOf(this.#options.store, { kind, entry: error.entry, call });
  }

  /** It may be the call's own first sending that took the name just now. */
  async #taken<T extends Resource>(kind: Kind<T>, key: string, call: Call): Promise<T> {
    const done = await this.replayed(kind, call);
    if (done) return done;
    throw new AlreadyExists(`"${key}" exists already`);
  }

  async #checkNamespace<T extends Resource>(kind: Kind<T>, object: T): Promise<void> {
    const { namespace } = metaOf(object);
    if (!kind.namespaced || kind.outlivesNamespace) return;
    const found = await this.find(namespaces, { name: namespace });
    if (found && !metaOf(found).deletionTimestamp) return;
    const subject = storeKey(namespaces, { name: namespace });
    throw new FailedPrecondition([{ type: "NAMESPACE_NOT_FOUND", subject, message: `Namespace "${namespace}" does not exist` }]);
  }

  #answer<T extends Resource>(kind: Kind<T>, { value, revision }: Stored): T {
    return this.#decoded.of(kind).read(value, revision, false);
  }
}

export const isTrusted = ({ role }: Caller) => role !== "user";

/** One subject's ids never meet another's: a subject may have "/" in it, and an id then has none. */
const journalId = ({ caller, requestId }: Call) => `${caller.subject}/${encodeURIComponent(requestId)}`;

const stale = (key: string) => new Aborted(`"${key}" has changed since it was read`);

function rooted<T extends Resource>(kind: Kind<T>, faults: Fault[]): Fault[] {
  return faults.map(({ path, message }) => ({ path: `${kind.field}.${path}`, message }));
}

function newMeta<T extends Resource>(kind: Kind<T>, object: T, birth: { uid: string; now: Date; trusted: boolean }): ObjectMeta {
  const { uid, now, trusted } = birth;
  const sent = object.metadata ?? ObjectMeta.create();
  return {
    ...sent,
    namespace: sent.namespace || (kind.namespaced ? "default" : ""),
    uid,
    generation: 1,
    resourceVersion: "",
    creationTimestamp: now,
    deletionTimestamp: undefined,
    deletionGracePeriodSeconds: undefined,
    finalizers: trusted ? sent.finalizers : [],
    ownerReferences: trusted ? sent.ownerReferences : [],
  };
}

const specOf = (object: Resource): unknown => (object as { spec?: unknown }).spec;

/** Nothing that users own is touched, so that nothing needs to be checked again. */
function sameWish(current: Resource, asked: Resource): boolean {
  const [before, after] = [metaOf(current), metaOf(asked)];
  const same = before.labels === after.labels && before.annotations === after.annotations;
  return same && specOf(current) === specOf(asked) && specOf(current) !== undefined;
}

const isGone = ({ deletionTimestamp, finalizers }: ObjectMeta) => deletionTimestamp !== undefined && finalizers.length === 0;

/** A later deletion may only shorten the grace. */
function deleting<T extends Resource>(kind: Kind<T>, current: T, { now, asked }: { now: Date; asked: number | undefined }): T | undefined {
  const metadata = metaOf(current);
  const standing = metadata.deletionGracePeriodSeconds;
  const wanted = asked ?? standing ?? kind.gracePeriodSeconds?.(current);
  const grace = wanted === undefined || standing === undefined ? wanted : Math.min(wanted, standing);
  if (metadata.deletionTimestamp && grace === standing) return undefined;
  return {
    ...current,
    metadata: { ...metadata, deletionTimestamp: metadata.deletionTimestamp ?? now, deletionGracePeriodSeconds: grace },
  };
}
