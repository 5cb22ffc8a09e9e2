/** How a subresource says no: one precondition with its stable word, the object it is about, and a sentence. */
import { FailedPrecondition } from "../../lib/errors.ts";
import type { Precondition } from "../../lib/errors.ts";
import { metaOf } from "../kinds/kind.ts";
import type { Resource } from "../kinds/kind.ts";

export type Subject = { plural: string; object: Resource };

export const VM = "virtualmachines";
export const VMI = "virtualmachineinstances";
export const VMIM = "virtualmachineinstancemigrations";
export const NODE = "nodes";

/** Such as "virtualmachines/default/web". */
export function subjectOf(plural: string, object: Resource): string {
  const { namespace, name } = metaOf(object);
  return namespace === "" ? `${plural}/${name}` : `${plural}/${namespace}/${name}`;
}

export function precondition(type: string, { plural, object }: Subject, message: string): Precondition {
  return { type, subject: subjectOf(plural, object), message };
}

export function refuse(type: string, subject: Subject, message: string): never {
  throw new FailedPrecondition([precondition(type, subject, message)]);
}
