/** The durable machine: its power intent is born here and follows a changed run strategy; everything else in its status is the controller's. */
import { ObjectMeta } from "../../gen/drover/v1/meta.ts";
import { PowerIntent, PowerState, RunStrategy, VirtualMachine, VirtualMachineStatus } from "../../gen/drover/v1/virtual_machine.ts";
import type { VirtualMachineInstanceTemplate } from "../../gen/drover/v1/virtual_machine.ts";
import type { Fault } from "../../lib/errors.ts";
import { type Kind, metaOf } from "./kind.ts";
import { machineDefaults } from "./machine/defaults.ts";
import { machineIdentifiers } from "./machine/identifiers.ts";
import { mapMachineSecrets } from "./machine/secrets.ts";
import { validateMachine } from "./machine/validate.ts";
import { annotations, labels, validateMeta } from "./names.ts";

/** Stands until no instance of the machine is left. */
export const INSTANCE_FINALIZER = "drover.dev/instance";

export const virtualMachines: Kind<VirtualMachine> = {
  name: "VirtualMachine",
  plural: "virtualmachines",
  field: "virtual_machine",
  typeName: "drover.v1.VirtualMachine",
  namespaced: true,
  codec: VirtualMachine,
  defaults(vm, { uid, random, before }) {
    const template = vm.spec?.template;
    if (!vm.spec || !template?.spec) return vm;
    const { namespace, name } = metaOf(vm);
    const uuid = before?.spec?.template?.spec?.domain?.firmware?.uuid;
    const identity = { namespace, name, uid, firmwareUuid: () => uuid || random.uuid() };
    return { ...vm, spec: { ...vm.spec, template: { ...template, spec: machineDefaults(template.spec, identity) } } };
  },
  born(vm, { now, requestId }) {
    const metadata = metaOf(vm);
    const intent = initialIntent(vm.spec?.runStrategy ?? RunStrategy.UNSPECIFIED) ?? PowerIntent.STOP;
    const power = PowerState.create({ intent, generation: 1, requestId, since: now });
    return {
      ...vm,
      metadata: { ...metadata, finalizers: [...new Set([...metadata.finalizers, INSTANCE_FINALIZER])] },
      status: { ...(vm.status ?? VirtualMachineStatus.create()), power },
    };
  },
  withoutStatus: (vm) => ({ ...vm, status: undefined }),
  withStatus: (stored, sent) => ({
    ...stored,
    status: { ...(sent.status ?? VirtualMachineStatus.create()), power: stored.status?.power },
  }),
  validate(vm) {
    const metadata = metaOf(vm);
    const template = vm.spec?.template;
    const path = "spec.template";
    return [
      ...validateMeta(metadata, { namespaced: true }),
      ...(template ? validateTemplateMeta(`${path}.metadata`, template) : []),
      ...(template?.spec ? validateMachine(`${path}.spec`, template.spec, metadata) : []),
    ];
  },
  validateChange(before, after) {
    const [stored, sent] = [firmwareUuid(before), firmwareUuid(after)];
    const path = "spec.template.spec.domain.firmware.uuid";
    return stored === sent ? [] : [{ path, message: `must stay ${JSON.stringify(stored)}: it is the machine's identity` }];
  },
  changed(before, after, { now, requestId }) {
    const strategy = after.spec?.runStrategy ?? RunStrategy.UNSPECIFIED;
    const intent = initialIntent(strategy);
    if (strategy === before.spec?.runStrategy || intent === undefined) return after;
    const status = after.status ?? VirtualMachineStatus.create();
    if (status.power?.intent === intent) return after;
    const power = PowerState.create({ intent, generation: (status.power?.generation ?? 0) + 1, requestId, since: now });
    return { ...after, status: { ...status, power } };
  },
  identifiers: (vm) => machineIdentifiers("spec.template.spec", vm.spec?.template?.spec),
  mapSecrets(vm, replace) {
    const template = vm.spec?.template;
    if (!vm.spec || !template?.spec) return vm;
    return { ...vm, spec: { ...vm.spec, template: { ...template, spec: mapMachineSecrets(template.spec, replace) } } };
  },
};

const firmwareUuid = (vm: VirtualMachine) => vm.spec?.template?.spec?.domain?.firmware?.uuid ?? "";

const INITIAL_INTENT: ReadonlyMap<RunStrategy, PowerIntent> = new Map([
  [RunStrategy.ALWAYS, PowerIntent.RUN],
  [RunStrategy.RERUN_ON_FAILURE, PowerIntent.RUN],
  [RunStrategy.ONCE, PowerIntent.RUN],
  [RunStrategy.HALTED, PowerIntent.STOP],
]);

/** What a strategy wants from the moment it is set; undefined leaves the intent as it is. */
export function initialIntent(strategy: RunStrategy): PowerIntent | undefined {
  return INITIAL_INTENT.get(strategy);
}

function validateTemplateMeta(path: string, { metadata }: VirtualMachineInstanceTemplate): Fault[] {
  if (!metadata) return [];
  const { labels: _labels, annotations: _annotations, ...rest } = metadata;
  const { labels: _noLabels, annotations: _noAnnotations, ...nothing } = ObjectMeta.create();
  const extra = (Object.keys(nothing) as (keyof typeof nothing)[]).filter(
    (key) => JSON.stringify(rest[key]) !== JSON.stringify(nothing[key]) && key !== "_unknownFields",
  );
  return [
    ...extra.map((key) => ({ path: `${path}.${snake(key)}`, message: "must be empty: only labels and annotations are allowed here" })),
    ...labels(`${path}.labels`, metadata.labels),
    ...annotations(`${path}.annotations`, metadata.annotations),
  ];
}

const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
