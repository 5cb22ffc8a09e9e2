/** A whole set of objects over a store in memory, with time and chance that repeat. */
import { Namespace } from "../../../gen/drover/v1/namespace.ts";
import { VirtualMachine } from "../../../gen/drover/v1/virtual_machine.ts";
import { type ApiError, InvalidArgument } from "../../../lib/errors.ts";
import type { Random } from "../../../lib/random.ts";
import { metaOf } from "../../../api-server/kinds/kind.ts";
import { namespaces } from "../../../api-server/kinds/table.ts";
import type { Call, Caller } from "../../../api-server/objects.ts";
import { StoreObjects } from "../../../api-server/records/objects.ts";
import { MemoryStore } from "../../../api-server/store/memory.ts";
import { fieldRules } from "../../../api-server/validate/field-rules.ts";
import { loadSchema } from "../../../api-server/schema.ts";
import { ManualClock } from "./sessions/manual-clock.ts";

export const schema = loadSchema();
export const rules = fieldRules(schema);

/** Counts instead of rolling dice. */
export function countingRandom(): Random {
  let next = 0;
  return {
    uuid: () => `00000000-0000-4000-8000-${String((next += 1)).padStart(12, "0")}`,
    fraction: () => 0.5,
    token: (length) => String((next += 1)).padStart(length, "0"),
  };
}

export const admin: Caller = { subject: "local", role: "admin" };
export const user: Caller = { subject: "user", role: "user" };

export function callBy(caller: Caller, changes: Partial<Call> = {}): Call {
  const signal = new AbortController().signal;
  return { caller, requestId: "", repeatable: false, rpc: "/test", bodyHash: "", validateOnly: false, signal, ...changes };
}

export async function makeObjects() {
  const clock = new ManualClock();
  const random = countingRandom();
  const store = new MemoryStore({ identity: { storeId: "store", incarnation: "test" } });
  const stop = new AbortController();
  const objects = new StoreObjects({ store, schema, rules, clock, random, stopping: stop.signal });
  await objects.create(namespaces, Namespace.create({ metadata: { name: "default" } }), callBy(admin));
  return { clock, random, store, stop, objects, schema };
}

type Parts = { name?: string; labels?: Record<string, string>; strategy?: VirtualMachineStrategy; userData?: string };
type VirtualMachineStrategy = NonNullable<VirtualMachine["spec"]>["runStrategy"];

/** The least machine with a disk of its own, a card and cloud-init. */
export function machine({ name = "web", labels = {}, strategy = 1, userData = "#cloud-config" }: Parts = {}): VirtualMachine {
  return VirtualMachine.create({
    metadata: { name, labels },
    spec: {
      runStrategy: strategy,
      template: {
        spec: {
          domain: {
            memory: { guest: "64Mi" },
            devices: { disks: [{ name: "root" }, { name: "seed", device: { $case: "cdrom", value: {} } }], interfaces: [{ name: "net" }] },
          },
          volumes: [
            { name: "root", source: { $case: "disk", value: { pool: "default", size: "1Gi" } } },
            { name: "seed", source: { $case: "cloudInitNoCloud", value: { userData: { value: userData } } } },
          ],
          networks: [{ name: "net", source: { $case: "user", value: {} } }],
        },
      },
    },
  });
}

/** Another machine with a changed spec; whoever changes it works on a deep copy. */
export function edited(vm: VirtualMachine, edit: (spec: MachineSpec) => void): VirtualMachine {
  const copy = structuredClone(vm);
  edit(copy.spec!.template!.spec!);
  return copy;
}
export type MachineSpec = NonNullable<NonNullable<NonNullable<VirtualMachine["spec"]>["template"]>["spec"]>;

/** Paths of all faults; rejects anything that was not refused as invalid. */
export async function faultPaths(attempt: Promise<unknown>): Promise<string[]> {
  try {
    await attempt;
  } catch (error) {
    if (error instanceof InvalidArgument) return error.faults.map(({ path }) => path);
    throw error;
  }
  throw new Error("Nothing was refused");
}

/** For assert.rejects: the class and the reason. */
export const refusedAs = (type: abstract new (...args: never[]) => ApiError, reason: string) => (error: unknown) =>
  error instanceof type && error.info.reason === reason;

export const version = (object: VirtualMachine) => metaOf(object).resourceVersion;
