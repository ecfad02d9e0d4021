-- The same decision, as a careful Lua engineer writes it: everything that is known beforehand is worked out once a
-- worker, locals for what is hot, one pass, and one string made per request.
local name, eu, us, constant, input, output, planned, spends_in, spends_out = {}, {}, {}, {}, {}, {}, {}, {}, {}
for i, s in ipairs({
--[[substrates]]
}) do
  name[i], planned[i] = s[1], s[1] .. (s[3] and ";x=" .. s[3] or "")
  eu[i], us[i] = s[2] ~= "US", s[2] == "US"
  constant[i] = s[4] * ANSWER - s[5] * 1000 * SECOND
  input[i] = -PREFILL * SECOND - INPUT
  output[i] = -PER_TOKEN * 1000 * SECOND - s[6]
  spends_in[i], spends_out[i] = INPUT, s[6]
end
local N = #name
local permitted = { acme = eu, globex = eu, initech = us }
local tier = { chat = "chat", agent = "agent", nightly = "nightly" }
local models = { ["llama-3.3-70b"] = true }
local tonumber, least = tonumber, -math.huge

function envoy_on_request(handle)
  local headers = handle:headers()
  local may = permitted[headers:get("x-tenant")]
  local class = tier[headers:get("x-workload")] or "nightly"
  local tokens = tonumber(headers:get("x-prompt-tokens")) or 0
  if not may or not models[headers:get("x-model")] then
    handle:respond({ [":status"] = "403" }, "refused")
    return
  end
  local u1, u2, u3, a, b, c = least, least, least, 0, 0, 0
  local best, at = least, 0
  for i = 1, N do
    local u = constant[i] + input[i] * tokens + output[i] * USUAL
    if may[i] then
      if u > u1 then
        u1, u2, u3, a, b, c = u, u1, u2, i, a, b
      elseif u > u2 then
        u2, u3, b, c = u, u2, i, b
      elseif u > u3 then
        u3, c = u, i
      end
    elseif u > best then
      best, at = u, i
    end
  end
  --[[bare: the cluster and nothing else]]
  headers:replace("x-placement-cluster", name[a])
  --[[equal: all that Berth leaves by default]]
  local binding = "none"
  if best > u1 then
    binding = "sovereignty;by=jurisdiction, unbound=" .. name[at]
  end
  local cost = math.floor((spends_in[a] * tokens + spends_out[a] * USUAL) / 1000000 + 0.5)
  local decision = 'v=1, id="' .. (headers:get("x-request-id") or "") .. '", class=' .. class .. ", substrate=" .. name[a]
    .. ", binding=" .. binding .. ', epoch=0, policy="bench@1#9f2c41ab", fresh=stale, plan=(' .. planned[a] .. " "
    .. planned[b] .. " " .. planned[c] .. "), cost=" .. cost
  headers:replace("x-envoy-upstream-rq-timeout-ms", DEADLINE)
  headers:replace("x-envoy-upstream-rq-per-try-timeout-ms", TRY)
  headers:replace("x-envoy-max-retries", "2")
  headers:replace("x-placement-cluster", name[a])
  headers:replace("x-placement-decision", decision)
  handle:streamInfo():dynamicMetadata():set("placement", "left", { decision = decision, second = name[b], third = name[c] })
  --[[end]]
end
