/** What acting on a machine takes: the ports, and who acts (types only). */
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Logger } from "../../lib/log.ts";
import type { Random } from "../../lib/random.ts";
import type { ControlPlane } from "../control-plane.ts";
import type { Doors } from "../door/doors.ts";
import type { Domain, Hypervisor } from "../libvirt/hypervisor.ts";
import type { Outbox } from "../outbox.ts";
import type { Storage } from "../storage/storage.ts";
import type { Endings } from "./endings.ts";
import type { Memory, Observed, Self } from "./observed.ts";

export type Tools = {
  /** The node's name is known once a session has stood. */
  self: () => Self;
  hypervisor: Hypervisor;
  storage: Storage;
  /** Makes the disks and the domain's XML. Throws when the machine cannot be started here. */
  blueprint: (instance: VirtualMachineInstance) => Promise<string>;
  /** The domain's XML as this node would have it at the end of the open migration, over disks that are there. */
  incoming: (instance: VirtualMachineInstance) => Promise<string>;
  controlPlane: ControlPlane;
  outbox: Pick<Outbox, "submit" | "record" | "forget" | "generation">;
  endings: Endings;
  doors: Doors;
  /** Where guest memory is received, such as `tcp://10.0.0.1`; absent on a node that receives none. */
  memoryUri: string | undefined;
  /** As in an observation. */
  quietMs?: number | undefined;
  clock: Clock;
  random: Random;
  log: Logger;
};

/** The machine that an action is about. `memory` is the driver's own and is changed by actions. */
export type Subject = {
  observed: Observed;
  memory: Memory;
  vmiUid: string;
  /** Look again: something has happened that no event tells. */
  poke: () => void;
  /** What an action has seen of the domain after its last change to it, which saves looking again. */
  seen: (domain: Domain) => void;
  /** The look-up's answer, for the next decision. */
  lookedUp: (answer: NonNullable<Observed["lookup"]>) => void;
  /** The claim's answer, which is the record as it stands unless a newer one has come meanwhile. */
  claimed: (instance: VirtualMachineInstance) => void;
  /** The domain is nobody's that this node knows. */
  foreign: (isForeign: boolean) => void;
  /** The machine's record, as it is known by now, carries this migration. */
  isOpen: (migrationUid: string) => boolean;
  drop: () => void;
};

/** How long to wait for the next look; undefined looks again at once, Infinity waits for news. */
export type Pause = number | undefined;
