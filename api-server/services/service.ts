/** What a service is to the server, and what its methods are made from. */
import type { CompatServiceDefinition, ServerAddBuilder, ServiceImplementation } from "nice-grpc";
import type { Logger } from "../../lib/log.ts";
import type { Clock } from "../../lib/clock.ts";
import { lossless } from "../../lib/lossless.ts";
import type { Random } from "../../lib/random.ts";
import { bounded } from "../limits/messages.ts";
import type { Objects, WithCall } from "../objects.ts";
import type { Store } from "../store/store.ts";
import type { Schema } from "../validate/schema.ts";
import { tolerant } from "../validate/undecodable.ts";

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

/** A definition together with what carries it out, and how it is added to a listener's server. */
export type Service = { definition: CompatServiceDefinition; addTo(builder: ServerAddBuilder<WithCall>): void };

type Definition = Parameters<typeof lossless>[0] & Parameters<typeof bounded>[0] & Parameters<typeof tolerant>[0];

/** Checks the pair where it is made, so that a list of services needs no types of its own. Unknown fields are kept. */
export function service<D extends CompatServiceDefinition>(definition: D, implementation: ServiceImplementation<D, WithCall>): Service {
  const whole = tolerant(bounded(lossless(definition as unknown as Definition))) as unknown as D;
  return { definition, addTo: (builder) => builder.add(whole, implementation) };
}
