"""The bounds of an address are those that the standard library's networks have."""

from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from ruleaudit.syntax.nft_interval_checks import _address_bounds

_ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
_TEXTS = st.one_of(
    st.text("0123456789.:/af", max_size=12),
    _ADDRESSES,
    st.builds(
        "{}/{}".format, _ADDRESSES, st.one_of(st.integers(0, 140), st.sampled_from(["", "255.0.0.0", "08", "x"]))
    ),
)


@given(_TEXTS, st.sampled_from([4, 6]))
@settings(max_examples=500)
def test_bounds_are_those_of_the_network(text: str, version: int) -> None:
    try:
        if "/" in text:
            network = ip_network(text, strict=False)
            found = network.version, (int(network[0]), int(network[-1]))
        else:
            address = ip_address(text)
            found = address.version, (int(address), int(address))
    except ValueError:
        found = None
    assert _address_bounds(text, version) == (found[1] if found and found[0] == version else None)
