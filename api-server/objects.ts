/**
 * The port that services and subresources work through: objects of any kind, read and changed by compare-and-set, with
 * defaults, validation, idempotency and deletion in one place. `records/` carries it out over a Store.
 */
import type { Fault } from "../lib/errors.ts";
import type { ObjectMeta } from "../gen/drover/v1/meta.ts";
import type { Key, Kind, Resource } from "./kinds/kind.ts";
import type { Act } from "./store/audit.ts";

export type { Key, Kind, Resource } from "./kinds/kind.ts";

/** Who calls: from the listener, never from a field. */
export type Caller = {
  /** For the journal and the audit, such as "local" or "node/a". */
  subject: string;
  role: "admin" | "control-plane" | "user" | "node";
  /** Name of the node whose certificate it is; only for agents. */
  node?: string;
  /** As in that certificate. */
  nodeIdentity?: { uid: string; incarnation: number };
  /** Of users: by certificate or by the issuer's claim. */
  groups?: readonly string[];
  /** Roles that come with the way in, besides all bindings. */
  grants?: readonly { role: string; namespaces: readonly string[] }[];
  /** When the credential ends; its streams end with it. */
  expireTime?: Date;
  /** Address of the other end, for the audit. */
  source?: string;
};

/** One call, as the interceptors made it; handlers find it as `context.call`. */
export type Call = {
  caller: Caller;
  /** The client's idempotency key, or one made for the journal. Empty leaves no journal entry: reports, status updates. */
  requestId: string;
  /** The client gave the key: a repeat gets the first answer. */
  repeatable: boolean;
  /** Such as "/drover.v1.VirtualMachineService/StartVirtualMachine". */
  rpc: string;
  /** SHA-256 of the request without its id. */
  bodyHash: string;
  validateOnly: boolean;
  signal: AbortSignal;
  /** A list or watch of every namespace shows these only; absent for callers who may see all. */
  namespaces?: readonly string[];
  /** Its part in the audit; absent for what is nobody's act, such as the server's own upkeep. */
  trail?: CallTrail;
  /** Field rules of the request that do not hold, the object in it apart; reported together with the object's own. */
  faults?: Fault[];
};

export interface CallTrail {
  /** The entry that is to be written with a change; undefined when this call's changes are not recorded. */
  change(kind: { name: string }, metadata: ObjectMeta, before: string): Act | undefined;
  /** That change is committed. */
  recorded(): void;
}

/** What every handler gets besides nice-grpc's context. */
export type WithCall = { call: Call };

export type Selectors = {
  /** Kubernetes syntax, such as "app=web,tier in (a,b)". */
  labelSelector?: string;
  /** Such as "status.phase=PHASE_RUNNING,spec.vm_name!=web". */
  fieldSelector?: string;
};

/** `namespaces`: only objects in one of these. */
export type Sight = { namespaces?: readonly string[] };

export type ListOptions = Selectors & Sight & { namespace?: string; /** 0 takes the default. */ pageSize?: number; pageToken?: string };
export type ListPage<T> = { items: T[]; nextPageToken: string; revision: string };

export type WatchOptions = Selectors & Sight & {
  namespace?: string;
  /** Exclusive; empty sends every present object as added first. */
  fromRevision?: string;
  signal: AbortSignal;
};
export type WatchEvent<T> =
  | { type: "added" | "modified"; object: T; revision: string }
  | { type: "deleted"; object: T; reason: "deleted" | "out-of-scope"; revision: string }
  | { type: "bookmark"; revision: string };

/** Reads. `get` and `find` are linearizable. */
export interface Reads {
  get<T extends Resource>(kind: Kind<T>, key: Key): Promise<T>;
  find<T extends Resource>(kind: Kind<T>, key: Key): Promise<T | undefined>;
  list<T extends Resource>(kind: Kind<T>, options?: ListOptions): Promise<ListPage<T>>;
  watch<T extends Resource>(kind: Kind<T>, options: WatchOptions): AsyncIterable<WatchEvent<T>>;
}

const PAGE_SIZE = 500;

/** All of a kind, a page after the other. */
export async function* everyOf<T extends Resource>(reads: Pick<Reads, "list">, kind: Kind<T>): AsyncGenerator<T> {
  for (let pageToken = ""; ; ) {
    const page = await reads.list(kind, { pageSize: PAGE_SIZE, pageToken });
    yield* page.items;
    pageToken = page.nextPageToken;
    if (pageToken === "") return;
  }
}

export const allOf = <T extends Resource>(reads: Pick<Reads, "list">, kind: Kind<T>): Promise<T[]> => Array.fromAsync(everyOf(reads, kind));

export type Expected = {
  /** The version that must stand there, else Aborted; empty or absent takes whatever does. */
  expected?: string;
  /** The uid that it must have, else Aborted. */
  uid?: string;
};

/** All objects that leave here hide their secrets' values and keep the digests. `metadata.resourceVersion` is set. */
export interface Objects extends Reads {
  /** The same reads with secret values, for those who run the machine. */
  readonly revealed: Reads;
  /** Defaults, validates, commits. A repeat answers the first answer. */
  create<T extends Resource>(kind: Kind<T>, object: T, call: Call): Promise<T>;
  /**
   * Reads, applies the pure change, validates, commits by compare-and-set; on a conflict reads and applies again, unless
   * `expected` names a version (then Aborted). The change sees secret values, may throw ApiErrors, and may answer
   * undefined: nothing to do. An object that is being deleted and has no finalizers left afterwards goes.
   */
  change<T extends Resource>(kind: Kind<T>, key: Key, change: (current: T) => T | undefined, call: Call & Expected): Promise<T>;
  /** Marks for deletion, or removes at once what no finalizer holds. Answers the object as it is, or as it last was. */
  remove<T extends Resource>(
    kind: Kind<T>,
    key: Key,
    call: Call & Expected & { gracePeriodSeconds?: number },
  ): Promise<T>;
  /** The first answer to a repeated call, for verbs that check something else before they create or change. */
  replayed<T extends Resource>(kind: Kind<T>, call: Call): Promise<T | undefined>;
}
