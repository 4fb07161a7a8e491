import torch

from zoomgap.distill.optim import Muon, make_optimizer, orthogonalise


def test_orthogonalised_matrices_have_singular_values_near_one():
    torch.manual_seed(0)
    for shape in ((3, 24, 64), (2, 64, 24), (1, 32, 32)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert values.min() > 0.3
        assert values.max() < 1.4


def test_orthogonalise_keeps_the_singular_directions():
    torch.manual_seed(0)
    matrix = torch.randn(1, 16, 40)
    u, _, v = torch.linalg.svd(matrix[0], full_matrices=False)
    inner = u.T @ orthogonalise(matrix)[0] @ v.T
    assert torch.allclose(inner, torch.diag(inner.diag()), atol=1e-3)


def test_muon_descends_and_its_step_does_not_depend_on_the_gradient_scale():
    steps = []
    for scale in (1.0, 1000.0):
        torch.manual_seed(0)
        p = torch.nn.Parameter(torch.randn(8, 12))
        before = p.detach().clone()
        optimizer = Muon([p], lr=0.1)
        (scale * (p**2).sum()).backward()
        optimizer.step()
        assert (p**2).sum() < (before**2).sum()
        steps.append(p.detach() - before)
    assert torch.allclose(steps[0], steps[1], atol=1e-4)


def test_every_parameter_has_one_optimizer_and_state_survives():
    model = torch.nn.ModuleDict(
        {"embed": torch.nn.Embedding(5, 4), "layer": torch.nn.Linear(4, 6), "norm": torch.nn.LayerNorm(6)}
    )
    optimizer = make_optimizer(model, lr_matrix=0.1, lr_rest=0.01)
    muon, adamw = ({id(p) for group in part.param_groups for p in group["params"]} for part in optimizer.parts)
    assert muon == {id(model["layer"].weight)}
    assert muon | adamw == {id(p) for p in model.parameters()}
    optimizer.set_factor(0.5)
    model["norm"](model["layer"](model["embed"](torch.tensor([1])))).pow(2).sum().backward()
    optimizer.step()
    fresh = make_optimizer(model, lr_matrix=0.1, lr_rest=0.01)
    fresh.load_state_dict(optimizer.state_dict())
    kept = fresh.parts[0].state[model["layer"].weight]["momentum"]
    assert torch.equal(kept, optimizer.parts[0].state[model["layer"].weight]["momentum"])
    assert fresh.parts[0].param_groups[0]["lr"] == 0.1
