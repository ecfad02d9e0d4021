//! Configurations come and go in one VM; what they declare is declared once.

use crate::fake_host::FakeHost;
use crate::policy::{placement, policy, telemetry};
use crate::wasm_host::Built;
use crate::{FULL, PLACEMENT};

#[test]
fn a_new_configuration_declares_no_series_again() {
    for (module, configuration) in [(PLACEMENT, placement(&policy())), (FULL, telemetry(&policy()))] {
        let (host, module) = (FakeHost::new(), Built::load(module));
        let configuration = configuration.to_string();
        let (mut vm, taken) = module.start(&host, &configuration).unwrap();
        assert!(taken);
        let declared = vm.calls().get("proxy_define_metric").copied().unwrap_or(0);
        assert!(declared > 20, "{declared}");
        for root in 2..12 {
            vm.enter("proxy_on_context_create", &[root, 0]).unwrap();
            let size = u32::try_from(configuration.len()).unwrap();
            assert_eq!(vm.enter("proxy_on_configure", &[root, size]).unwrap(), Some(1));
        }
        assert_eq!(vm.calls().get("proxy_define_metric").copied(), Some(declared));
    }
}
