/** A host. The spec is the administrator's; session, report, fence and identity are the server's own; the rest is the controller's. */
import { SecretValue } from "../../gen/drover/v1/meta.ts";
import { Node, NodeSpec, NodeStatus } from "../../gen/drover/v1/node.ts";
import { type Kind, metaOf } from "./kind.ts";
import { labelKey, labelValue, unique, validateMeta } from "./names.ts";
import { quantityBetween } from "./quantities.ts";

const NODE_MEMORY = { min: "1Mi", max: "1Pi", multipleOf: 1n };

export const nodes: Kind<Node> = {
  name: "Node",
  plural: "nodes",
  field: "node",
  typeName: "drover.v1.Node",
  namespaced: false,
  longNames: true,
  codec: Node,
  defaults: (node) => (node.spec ? node : { ...node, spec: NodeSpec.create() }),
  // An identity comes from a token alone, whoever makes the record.
  born: (node) => (node.status ? { ...node, status: { ...node.status, identity: undefined } } : node),
  withoutStatus: (node) => ({ ...node, status: undefined }),
  withStatus: (stored, sent) => {
    const { conditions, fenceDoneId, drainProgress } = sent.status ?? NodeStatus.create();
    return { ...stored, status: { ...(stored.status ?? NodeStatus.create()), conditions, fenceDoneId, drainProgress } };
  },
  validate(node) {
    const { taints = [], maxMemory = "" } = node.spec ?? {};
    return [
      ...validateMeta(metaOf(node), nodes),
      ...taints.flatMap(({ key, value }, i) => [
        ...labelKey(`spec.taints[${i}].key`, key),
        ...labelValue(`spec.taints[${i}].value`, value),
      ]),
      ...unique(taints, ({ key, effect }) => `${key}:${effect}`, (i) => `spec.taints[${i}]`),
      ...(maxMemory === "" ? [] : quantityBetween("spec.max_memory", maxMemory, NODE_MEMORY)),
    ];
  },
  validateChange: () => [],
  mapSecrets(node, replace) {
    const { identity } = node.status ?? {};
    const token = identity?.token;
    if (!node.status || !identity || !token?.digest) return node;
    const replaced = replace(token.digest, "token");
    // Not even the digest of a token's digest is anybody's to read.
    const digest = replaced.value === "" ? SecretValue.create() : replaced;
    return { ...node, status: { ...node.status, identity: { ...identity, token: { ...token, digest } } } };
  },
};
