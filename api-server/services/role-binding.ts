/** Role bindings. Nobody gives what they have not. */
import type {
  CreateRoleBindingRequest, DeleteRoleBindingRequest, GetRoleBindingRequest, ListRoleBindingsRequest, RoleBinding,
  UpdateRoleBindingRequest, WatchRoleBindingsRequest,
} from "../../gen/drover/v1/role_binding.ts";
import { roleBindings } from "../kinds/table.ts";
import type { Call, WithCall } from "../objects.ts";
import { crud } from "./crud.ts";
import { counted, refuseEscalation, type RightsParts, rulesOfRole } from "./escalation.ts";

export function roleBindingRecords(parts: RightsParts) {
  const { rights } = parts;
  const records = crud(roleBindings, parts);
  const bounded = (call: Call) => ({ spec }: RoleBinding) => {
    if (spec) refuseEscalation(rights, call, { rules: rulesOfRole(rights, spec.role), namespaces: spec.namespaces });
  };
  const answer = (binding: RoleBinding, call: Call) => counted(rights, "binding", binding, call);
  return {
    createRoleBinding: async (request: CreateRoleBindingRequest, { call }: WithCall) => {
      if (request.roleBinding) bounded(call)(request.roleBinding);
      return { roleBinding: await answer(await records.create(request.roleBinding, call), call) };
    },

    getRoleBinding: async (request: GetRoleBindingRequest) => ({ roleBinding: await records.get(request) }),

    async listRoleBindings(request: ListRoleBindingsRequest, { call }: WithCall) {
      const { items, ...page } = await records.list(request, call);
      return { ...page, roleBindings: items };
    },

    watchRoleBindings: (request: WatchRoleBindingsRequest, { call }: WithCall) =>
      records.watch(request, call, (roleBinding, reason) => ({ roleBinding, reason })),

    updateRoleBinding: async (request: UpdateRoleBindingRequest, { call }: WithCall) => {
      const binding = await records.update(request.roleBinding, { updateMask: request.updateMask, check: bounded(call) }, call);
      return { roleBinding: await answer(binding, call) };
    },

    deleteRoleBinding: async (request: DeleteRoleBindingRequest, { call }: WithCall) => {
      return { roleBinding: await answer(await records.remove(request, call), call) };
    },
  };
}
