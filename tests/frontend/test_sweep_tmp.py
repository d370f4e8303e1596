from test_rhel import *
def test_sweep(make_model, make_sample, custom_units):
    for name in ("saturating","relativistic"):
      for task in ("classification","regression"):
        model = make_model(unit=custom_units[name], task=task)
        x, label = make_sample(model, 60)
        wanted = bptt_gradient(model, x, label)
        print(name, task, "default", worst(rhel_gradient(model,x,label),wanted))
        prev=None
        for k in range(2,-14,-2):
            e=errors(rhel_gradient(model,x,label,2.0**k),wanted)
            if prev: r=[prev[n]/e[n] for n in e if prev[n]>1e-9]; print(k, max(e.values()), min(r) if r else None, max(r) if r else None)
            prev=e
