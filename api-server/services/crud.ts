/** Create, read, change, watch and delete in the one shape that all kinds share; each kind's service only names it. */
import { DeletionReason, type ObjectMeta } from "../../gen/drover/v1/meta.ts";
import { InvalidArgument } from "../../lib/errors.ts";
import { keyOf, type Kind, metaOf, type Resource } from "../kinds/kind.ts";
import type { Call, ListOptions, Sight, WatchOptions } from "../objects.ts";
import { applyMask, maskPaths } from "../validate/update-mask.ts";
import type { ServiceParts } from "./service.ts";

/** `check` throws when the object must not become what it is asked to. */
type UpdateRequest<T> = { updateMask: string[] | undefined; check?: (next: T) => void };
type DeleteRequest = { namespace?: string; name: string; uid: string; resourceVersion: string; gracePeriodSeconds?: number | undefined };
type WatchRequest = Omit<WatchOptions, "signal">;

export type Watched<T, D> = {
  event:
    | { $case: "added"; value: T }
    | { $case: "modified"; value: T }
    | { $case: "deleted"; value: D }
    | { $case: "bookmark"; value: Record<string, never> };
  revision: string;
};

export function crud<T extends Resource>(kind: Kind<T>, { objects, schema }: Pick<ServiceParts, "objects" | "schema">) {
  return {
    create: (sent: T | undefined, call: Call) => objects.create(kind, required(kind, sent), call),

    get: (key: { namespace?: string; name: string }) => objects.get(kind, key),

    list: (request: ListOptions, call: Call) => objects.list(kind, { ...request, ...sightOf(call) }),

    async *watch<D>(request: WatchRequest, call: Call, deleted: (object: T, reason: DeletionReason) => D): AsyncGenerator<Watched<T, D>> {
      for await (const event of objects.watch(kind, { ...request, ...sightOf(call), signal: call.signal })) {
        const { revision } = event;
        if (event.type === "bookmark") yield { event: { $case: "bookmark", value: {} }, revision };
        else if (event.type === "deleted") yield { event: { $case: "deleted", value: deleted(event.object, REASONS[event.reason]) }, revision };
        else yield { event: { $case: event.type, value: event.object }, revision };
      }
    },

    update(sent: T | undefined, { updateMask, check }: UpdateRequest<T>, call: Call) {
      const object = named(kind, sent);
      const { resourceVersion, uid } = metaOf(object);
      const root = schema.message(kind.typeName);
      const part = { paths: maskPaths(updateMask ?? [], root), root };
      const change = (stored: T) => {
        const next = applyMask(stored, object, part);
        check?.(next);
        return next;
      };
      return objects.change(kind, keyOf(object), change, { ...call, expected: resourceVersion, uid });
    },

    /** Finalizers go with the status: both are the control plane's. */
    updateStatus(sent: T | undefined, call: Call) {
      const object = named(kind, sent);
      const { resourceVersion, uid, finalizers } = metaOf(object);
      if (resourceVersion === "") throw missing(`${kind.field}.metadata.resource_version`);
      const replace = (stored: T) => ({
        ...(kind.withStatus?.(stored, object) ?? stored),
        metadata: { ...metaOf(stored), finalizers } satisfies ObjectMeta,
      });
      return objects.change(kind, keyOf(object), replace, { ...call, expected: resourceVersion, uid });
    },

    /** `check` throws when the object must stay; the version that it looked at is then the one that goes. */
    async remove(request: DeleteRequest, call: Call, check?: () => Promise<T>) {
      const done = await objects.replayed(kind, call);
      if (done) return done;
      const { uid, resourceVersion, gracePeriodSeconds } = request;
      const checked = check && (await check());
      const expected = resourceVersion || (checked ? metaOf(checked).resourceVersion : "");
      const grace = gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds };
      return objects.remove(kind, request, { ...call, expected, uid, ...grace });
    },
  };
}

/** Where the caller has rights in some namespaces only. */
const sightOf = ({ namespaces }: Call): Sight => (namespaces === undefined ? {} : { namespaces });

const REASONS = { deleted: DeletionReason.DELETED, "out-of-scope": DeletionReason.OUT_OF_SCOPE } as const;

const missing = (path: string) => new InvalidArgument([{ path, message: "is required" }]);

function required<T extends Resource>(kind: Kind<T>, sent: T | undefined): T {
  if (sent === undefined) throw missing(kind.field);
  return sent;
}

function named<T extends Resource>(kind: Kind<T>, sent: T | undefined): T {
  const object = required(kind, sent);
  if (!object.metadata?.name) throw missing(`${kind.field}.metadata.name`);
  return object;
}
