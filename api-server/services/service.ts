/** What a service is to the server, and what its methods are made from. */
import type { CallContext, CompatServiceDefinition, ServiceImplementation } from "nice-grpc";
import type { Logger } from "../../lib/log.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Random } from "../../lib/random.ts";
import type { Objects, WithCall } from "../objects.ts";
import type { Store } from "../store/store.ts";
import type { Schema } from "../validate/schema.ts";

export type ServiceParts = {
  objects: Objects;
  store: Store;
  schema: Schema;
  clock: Clock;
  random: Random;
  log: Logger;
  /** Ends streams when the server stops. */
  stopping: AbortSignal;
};

export type Context = CallContext & WithCall;

/** A definition together with what carries it out; `serve` adds it to a listener. */
export type Service = { definition: CompatServiceDefinition; implementation: ServiceImplementation<CompatServiceDefinition, WithCall> };

/** Checks the pair where it is made, so that a list of services needs no types of its own. */
export function service<D extends CompatServiceDefinition>(definition: D, implementation: ServiceImplementation<D, WithCall>): Service {
  return { definition, implementation: implementation as unknown as Service["implementation"] };
}
